package subtitle

import (
	"bytes"
	"math"
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// How likely bytes beyond ASCII are that are not the language's letters, of which
// the rarest have one in a hundred.
var (
	mark    = math.Log(1e-2) // a quotation mark, a dash, an ellipsis, a note
	foreign = math.Log(1e-3) // another language's letter, in a name
	symbol  = math.Log(3e-4) // what subtitles hardly ever have
	control = math.Log(1e-5)

	// A capital behind a small letter is no word of any language, but what letters
	// look like in the wrong encoding of their own script.
	capital = math.Log(1e-2)

	// called is how much likelier the language in a file's name is than others: much
	// where letters are few, little against many, for names mean other things, too.
	called = math.Log(1e6)

	// usual is how much likelier the encoding of most languages is than others.
	usual = math.Log(30)
)

// marks are the signs that subtitles of all languages have.
const marks = "\u00a0\u00ad“”„‘’‚‹›«»–—…•·°®©™¡¿€£§´♪،؟؛\u200e\u200f"

// singleByte returns the encoding in which the sample is likeliest to be some
// language's text.
func singleByte(name string, sample []byte) *charmap.Charmap {
	// Other lines may be markup, or a film's English.
	sample = slices.Concat(slices.DeleteFunc(slices.Collect(bytes.Lines(sample)), isASCII)...)
	words := languagesOf(name)
	best, most := languages[0].encodings[0], math.Inf(-1)
	for i := range languages {
		l := &languages[i]
		likely := l.likelihoods()
		for _, enc := range l.encodings {
			sum := l.score(sample, enc, likely)
			if l.isCalled(words) {
				sum += called
			}
			if enc == charmap.Windows1252 {
				sum += usual
			}
			if sum > most {
				best, most = enc, sum
			}
		}
	}
	return best
}

// likelihoods are the logarithms of how often the language's letters occur among
// those beyond ASCII, after Zipf: each as often as its place in the order is far down.
func (l *language) likelihoods() map[rune]float64 {
	letters := []rune(l.letters)
	total := 0.0
	for i := range letters {
		total += 1 / float64(i+1)
	}
	likely := make(map[rune]float64, len(letters)+len(marks))
	for _, r := range marks {
		likely[r] = mark
	}
	for i, r := range letters {
		likely[r] = -math.Log(float64(i+1) * total)
	}
	return likely
}

// score is the logarithm of how likely the sample is in the language and an
// encoding.
func (l *language) score(sample []byte, enc *charmap.Charmap, likely map[rune]float64) float64 {
	var worth [256]float64
	var isSmall, isCapital [256]bool
	beyond := float64(l.beyond) / 1000
	for i := range worth {
		r := enc.DecodeByte(byte(i))
		isSmall[i], isCapital[i] = unicode.IsLower(r), unicode.IsUpper(r)
		if i >= utf8.RuneSelf {
			worth[i] = math.Log(beyond) + likelihood(r, likely)
		} else if unicode.IsLetter(r) {
			worth[i] = math.Log(1 - beyond)
		}
	}
	sum, inWord := 0.0, false
	for _, b := range sample {
		sum += worth[b]
		if b >= utf8.RuneSelf && inWord && isCapital[b] {
			sum += capital
		}
		inWord = isSmall[b]
	}
	return sum
}

func isASCII(line []byte) bool {
	return !slices.ContainsFunc(line, func(b byte) bool { return b >= utf8.RuneSelf })
}

func likelihood(r rune, likely map[rune]float64) float64 {
	if v, ok := likely[r]; ok {
		return v
	}
	if v, ok := likely[unicode.ToLower(r)]; ok {
		return v
	}
	switch {
	case unicode.IsLetter(r):
		return foreign
	case r == unicode.ReplacementChar || unicode.IsControl(r):
		return control
	default:
		return symbol
	}
}
