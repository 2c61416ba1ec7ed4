package subtitle_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// encode is text as a file in that encoding holds it.
func encode(t *testing.T, enc encoding.Encoding, text string) []byte {
	t.Helper()
	data, err := enc.NewEncoder().Bytes([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCommonEncodings(t *testing.T) {
	const (
		russian  = "Привет, как дела? Сегодня очень хорошая погода, и мы пойдём гулять в парк."
		ukraine  = "Привіт, як справи? Сьогодні дуже гарна погода, і ми підемо гуляти в її парк."
		greek    = "Καλημέρα, τι κάνεις; Σήμερα ο καιρός είναι πολύ καλός και θα πάμε βόλτα."
		french   = "Où êtes-vous allé hier après-midi ? J'espère que ça va bien, mon frère."
		japan    = "こんにちは、元気ですか。今日はとても天気がいいので、公園に行きましょう。"
		chinese  = "你好，你今天怎么样？今天天气很好，我们去公园散步吧。我们一起去看电影。"
		taiwan   = "你好，你今天怎麼樣？今天天氣很好，我們去公園散步吧。我們一起去看電影。"
		koreanTx = "안녕하세요, 오늘 날씨가 정말 좋네요. 우리 같이 공원에 산책하러 갑시다."
	)
	for _, tc := range []struct {
		name string
		enc  encoding.Encoding
		text string
	}{
		{"utf-8", encoding.Nop, russian},
		{"utf-8 with mark", unicode.UTF8BOM, japan},
		{"utf-16le", unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), greek},
		{"utf-16be", unicode.UTF16(unicode.BigEndian, unicode.UseBOM), chinese},
		{"utf-16le unmarked", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), russian},
		{"utf-16be unmarked", unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), russian},
		{"utf-32le", utf32.UTF32(utf32.LittleEndian, utf32.UseBOM), french},
		{"windows-1251", charmap.Windows1251, russian},
		{"koi8-r", charmap.KOI8R, russian},
		{"koi8-u", charmap.KOI8U, ukraine},
		{"iso-8859-5", charmap.ISO8859_5, russian},
		{"cp866", charmap.CodePage866, russian},
		{"windows-1252", charmap.Windows1252, french},
		{"windows-1253", charmap.Windows1253, greek},
		{"iso-8859-7", charmap.ISO8859_7, greek},
		{"shift-jis", japanese.ShiftJIS, japan},
		{"euc-jp", japanese.EUCJP, japan},
		{"iso-2022-jp", japanese.ISO2022JP, japan},
		{"gbk", simplifiedchinese.GBK, chinese},
		{"big5", traditionalchinese.Big5, taiwan},
		{"euc-kr", korean.EUCKR, koreanTx},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data := encode(t, tc.enc, srt(tc.text, tc.text, tc.text))
			if got := convert(t, "a.srt", data); strings.Count(got, tc.text) != 3 {
				t.Errorf("text lost: %s", got)
			}
		})
	}
}

// TestEncodingsByDialogue reads dialogue whose encoding only its letters tell,
// whether or not the file's name says, or seems to say, its language.
func TestEncodingsByDialogue(t *testing.T) {
	dialogue := readDialogue(t)
	for _, tc := range []struct {
		language  string
		encodings []encoding.Encoding
	}{
		{"pl", []encoding.Encoding{charmap.Windows1250, charmap.ISO8859_2}},
		{"cs", []encoding.Encoding{charmap.Windows1250, charmap.ISO8859_2}},
		{"hu", []encoding.Encoding{charmap.Windows1250, charmap.ISO8859_2}},
		{"hr", []encoding.Encoding{charmap.Windows1250, charmap.ISO8859_2}},
		{"ro", []encoding.Encoding{charmap.Windows1250, charmap.ISO8859_2}},
		{"lt", []encoding.Encoding{charmap.Windows1257, charmap.ISO8859_13}},
		{"lv", []encoding.Encoding{charmap.Windows1257, charmap.ISO8859_13}},
		{"ar", []encoding.Encoding{charmap.Windows1256, charmap.ISO8859_6}},
		{"tr", []encoding.Encoding{charmap.Windows1254, charmap.ISO8859_9}},
		{"he", []encoding.Encoding{charmap.Windows1255}},
		{"th", []encoding.Encoding{charmap.Windows874}},
		{"it", []encoding.Encoding{charmap.Windows1252}},
		{"de", []encoding.Encoding{charmap.Windows1252}},
		{"es", []encoding.Encoding{charmap.Windows1252}},
	} {
		lines := dialogue[tc.language]
		if len(lines) < 20 {
			t.Errorf("%d lines in %q", len(lines), tc.language)
		}
		for _, enc := range tc.encodings {
			data := encode(t, enc, srt(lines...))
			for _, name := range []string{"film.srt", "film." + tc.language + ".srt", "film.ru.srt", "It.srt"} {
				got := convert(t, name, data)
				for _, line := range lines {
					if !strings.Contains(got, line) {
						t.Errorf("%s in %v as %s: %q is lost in\n%.400s", tc.language, enc, name, line, got)
						break
					}
				}
			}
		}
	}
}

// readDialogue returns the lines of each language.
func readDialogue(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "dialogue.txt"))
	if err != nil {
		t.Fatal(err)
	}
	dialogue, language := make(map[string][]string), ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if code, ok := strings.CutPrefix(line, "["); ok {
			language = strings.TrimSuffix(code, "]")
		} else if line != "" && !strings.HasPrefix(line, "#") {
			dialogue[language] = append(dialogue[language], line)
		}
	}
	return dialogue
}

// TestLanguageInName decides where a few letters fit more than one language.
func TestLanguageInName(t *testing.T) {
	const text = "Bună ziua" // as Portuguese, "ã"
	data := encode(t, charmap.Windows1250, srt(text))
	for _, name := range []string{
		"film.ro.srt", "Film.RUM.srt", "film.ron.forced.srt", "Subs/Film/2_Romanian.srt", "ro.srt", "film [ro].srt",
	} {
		if got := convert(t, name, data); !strings.Contains(got, text) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestDamagedUTF8 loses what is damaged, and no more.
func TestDamagedUTF8(t *testing.T) {
	text := srt(readDialogue(t)["pl"]...)
	at := strings.Index(text, "ś")
	got := convert(t, "film.srt", []byte(text[:at]+text[at+1:]))
	if strings.Count(got, "\uFFFD") != 1 || !strings.Contains(got, "Gdzie był") || !strings.Contains(got, "zostawię") {
		t.Errorf("got %s", got)
	}
}
