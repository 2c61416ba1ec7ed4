package subtitle_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/causeway-bt/causeway/stream/subtitle"
)

func srt(lines ...string) string {
	var b strings.Builder
	for i, l := range lines {
		fmt.Fprintf(&b, "%d\r\n00:00:%02d,500 --> 00:00:%02d,250\r\n%s\r\n\r\n", i+1, i+1, i+2, l)
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

// TestManyLinesAreRefused, which would take minutes.
func TestManyLinesAreRefused(t *testing.T) {
	for name, line := range map[string]string{"lines.srt": "x\n", "returns.srt": "x\r", "arrows.vtt": "-->\r\n", "empty.ass": "\n"} {
		data := []byte("1\n00:00:01,000 --> 00:00:02,000\n" + strings.Repeat(line, subtitle.MaxSize/len(line)-20))
		if _, err := subtitle.WebVTT(name, data); !errors.Is(err, subtitle.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var film strings.Builder
	for range 40_000 {
		film.WriteString("1\n00:00:01,000 --> 00:00:02,000\nx\n\n")
	}
	if _, err := subtitle.WebVTT("long.srt", []byte(film.String())); err != nil {
		t.Error(err)
	}
}
