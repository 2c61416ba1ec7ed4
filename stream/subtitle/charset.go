package subtitle

import (
	"bytes"
	"unicode/utf8"

	"github.com/wlynxg/chardet"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// sampleSize is how many bytes the guess at a legacy encoding looks at: more
// would cost time and change nothing.
const sampleSize = 128 << 10

// decode returns the text in UTF-8 without a byte order mark, whatever its encoding.
// What cannot be decoded becomes U+FFFD.
func decode(data []byte) []byte {
	enc := detect(data)
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
// else by being valid UTF-8, else by the zero bytes of UTF-16, else by
// the statistics of letters.
func detect(data []byte) encoding.Encoding {
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
	if enc := unmarkedUTF16(data); enc != nil {
		return enc
	}
	if utf8.Valid(data) {
		return nil
	}
	name := chardet.Detect(data[:min(len(data), sampleSize)]).Encoding
	if enc, err := htmlindex.Get(name); err == nil && enc != unicode.UTF8 {
		return enc
	}
	return charmap.Windows1252
}

// unmarkedUTF16 knows UTF-16 by digits, arrows and spaces, whose other byte is
// zero; no other encoding of text has zero bytes.
func unmarkedUTF16(data []byte) encoding.Encoding {
	var even, odd int
	sample := data[:min(len(data), sampleSize)]
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
