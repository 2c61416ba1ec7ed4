package subtitle_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/causeway-bt/causeway/stream/subtitle"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

func srt(lines ...string) string {
	var b strings.Builder
	for i, l := range lines {
		b.WriteString(string(rune('1'+i)) + "\r\n00:00:0" + string(rune('1'+i)) + ",500 --> 00:00:0" +
			string(rune('2'+i)) + ",250\r\n" + l + "\r\n\r\n")
	}
	return b.String()
}

func convert(t *testing.T, name string, data []byte) string {
	t.Helper()
	vtt, err := subtitle.WebVTT(name, data)
	if err != nil {
		t.Fatal(err)
	}
	return string(vtt)
}

func TestSubRip(t *testing.T) {
	got := convert(t, "a.srt", []byte(srt(`{\an8}<i>Tom & Jerry</i> < 3`, "second\r\nline", "a --> b")))
	want := "WEBVTT\n\n" +
		"1\n00:00:01.500 --> 00:00:02.250\n<i>Tom &amp; Jerry</i> &lt; 3\n\n" +
		"2\n00:00:02.500 --> 00:00:03.250\nsecond\nline\n\n" +
		"3\n00:00:03.500 --> 00:00:04.250\na -> b\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

const ass = `[Script Info]
Title: x
PlayResX: not a number

[V4+ Styles]
Format: Name, Fontsize
Style: Default, huge

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,not shown
Dialogue: 0,0:00:01.50,0:00:03.00,Default,A>ctor,0,0,0,,{\i1}Grüße{\i0}, Welt\Nzweite
Dialogue: 0,0:00:04.00,0:00:05.00,Default,,0,0,0,,{\p1}
`

func TestSubStationAlpha(t *testing.T) {
	got := convert(t, "a.ASS", []byte(ass))
	want := "WEBVTT\n\n1\n00:00:01.500 --> 00:00:03.000\nGrüße, Welt\nzweite\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEmptyFileIsValidWebVTT(t *testing.T) {
	for _, name := range []string{"a.srt", "a.ass"} {
		if got := convert(t, name, nil); got != "WEBVTT\n" {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestCommonEncodings(t *testing.T) {
	const (
		russian  = "Привет, как дела? Сегодня очень хорошая погода, и мы пойдём гулять в парк."
		greek    = "Καλημέρα, τι κάνεις; Σήμερα ο καιρός είναι πολύ καλός και θα πάμε βόλτα."
		french   = "Où êtes-vous allé hier après-midi ? J'espère que ça va bien, mon frère."
		japan    = "こんにちは、元気ですか。今日はとても天気がいいので、公園に行きましょう。"
		chinese  = "你好，你今天怎么样？今天天气很好，我们去公园散步吧。我们一起去看电影。"
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
		{"windows-1252", charmap.Windows1252, french},
		{"windows-1253", charmap.Windows1253, greek},
		{"shift-jis", japanese.ShiftJIS, japan},
		{"gbk", simplifiedchinese.GBK, chinese},
		{"euc-kr", korean.EUCKR, koreanTx},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data, err := tc.enc.NewEncoder().Bytes([]byte(srt(tc.text, tc.text, tc.text)))
			if err != nil {
				t.Fatal(err)
			}
			if got := convert(t, "a.srt", data); strings.Count(got, tc.text) != 3 {
				t.Errorf("text lost: %s", got)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	if _, err := subtitle.WebVTT("a.sub", []byte("x")); err == nil {
		t.Error("a .sub was converted")
	}
	if _, err := subtitle.WebVTT("a.srt", make([]byte, subtitle.MaxSize+1)); !errors.Is(err, subtitle.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if subtitle.Convertible("a.idx") || !subtitle.Convertible("A.SRT") {
		t.Error("Convertible goes by the wrong names")
	}
}

func FuzzWebVTT(f *testing.F) {
	f.Add("a.srt", []byte(srt("one", "two")))
	f.Add("a.srt", []byte("1\n00:00:01,000 --> \nx\n"))
	f.Add("a.ass", []byte(ass))
	f.Add("a.vtt", []byte("WEBVTT\n\n1\n00:01.000 --> 00:02.000 align:left\n<v Bob>Hi\n"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		vtt, err := subtitle.WebVTT(name, data)
		if err != nil {
			return
		}
		if !bytes.HasPrefix(vtt, []byte("WEBVTT")) || !utf8.Valid(vtt) {
			t.Fatalf("not WebVTT in UTF-8: %q", vtt)
		}
	})
}
