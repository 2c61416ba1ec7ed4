package subtitle

import (
	"bytes"
	"unicode/utf8"

	"github.com/wlynxg/chardet"
	"github.com/wlynxg/chardet/consts"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// sampleSize is how many bytes the guess at a legacy encoding looks at: more
// would cost time and change nothing.
const sampleSize = 128 << 10

// decode returns the text of the file called name in UTF-8 without a byte order
// mark, whatever its encoding. What cannot be decoded becomes U+FFFD.
func decode(name string, data []byte) []byte {
	enc := detect(name, data)
	if enc == nil {
		return bytes.ToValidUTF8(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), []byte("\uFFFD"))
	}
	text, err := enc.NewDecoder().Bytes(data)
	if err != nil {
		text = data
	}
	return bytes.ToValidUTF8(text, []byte("\uFFFD"))
}

// detect returns the encoding of data, or nil for UTF-8: by its byte order mark,
// by what only one encoding has, else by the statistics of letters, helped by the
// language in the file's name.
func detect(name string, data []byte) encoding.Encoding {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe\x00\x00")):
		return utf32.UTF32(utf32.LittleEndian, utf32.ExpectBOM)
	case bytes.HasPrefix(data, []byte("\x00\x00\xfe\xff")):
		return utf32.UTF32(utf32.BigEndian, utf32.ExpectBOM)
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		return unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM)
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		return unicode.UTF16(unicode.BigEndian, unicode.ExpectBOM)
	}
	sample := data[:min(len(data), sampleSize)]
	if enc := unmarkedUTF16(sample); enc != nil {
		return enc
	}
	if isISO2022JP(data) {
		return japanese.ISO2022JP
	}
	if mostlyUTF8(data) {
		return nil
	}
	if enc := multiByte(sample); enc != nil {
		return enc
	}
	return singleByte(name, sample)
}

// isISO2022JP knows the encoding by its escape to Japanese letters, which no
// other text has.
func isISO2022JP(data []byte) bool {
	return bytes.Contains(data, []byte("\x1b$B")) || bytes.Contains(data, []byte("\x1b$@"))
}

// mostlyUTF8 forgives a letter in ten, which may be cut or damaged: what
// follows by chance the form of UTF-8 is far rarer in other encodings.
func mostlyUTF8(data []byte) bool {
	var letters, broken int
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			broken++
		} else if size > 1 {
			letters++
		}
		data = data[size:]
	}
	return broken <= letters/10
}

// multiByte returns an encoding of Chinese, Japanese or Korean, or nil if the
// sample is in none: their letters are pairs of bytes that text in other
// encodings breaks sooner or later.
func multiByte(sample []byte) encoding.Encoding {
	var enc encoding.Encoding
	switch chardet.Detect(sample).Encoding {
	case consts.GB2312:
		enc = simplifiedchinese.GB18030
	case consts.Big5:
		enc = traditionalchinese.Big5
	case consts.ShiftJis, consts.CP932:
		enc = japanese.ShiftJIS
	case consts.EucJp:
		enc = japanese.EUCJP
	case consts.EucKr, consts.CP949:
		enc = korean.EUCKR
	default:
		return nil
	}
	text, err := enc.NewDecoder().Bytes(sample)
	if err != nil {
		return nil
	}
	var letters, latin, broken int
	for _, r := range string(text) {
		switch {
		case r == utf8.RuneError:
			broken++
		case r >= utf8.RuneSelf:
			letters++
		case 'a' <= r && r <= 'z':
			latin++
		}
	}
	if broken > letters/100 || letters < latin/8 {
		return nil
	}
	return enc
}

// unmarkedUTF16 knows UTF-16 by digits, arrows and spaces, whose other byte is
// zero; no other encoding of text has zero bytes.
func unmarkedUTF16(sample []byte) encoding.Encoding {
	var even, odd int
	for i, b := range sample {
		if b != 0 {
			continue
		}
		if i%2 == 0 {
			even++
		} else {
			odd++
		}
	}
	const share = 10 // at least one code unit in ten is ASCII
	switch {
	case odd > len(sample)/2/share && even == 0:
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	case even > len(sample)/2/share && odd == 0:
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	default:
		return nil
	}
}
