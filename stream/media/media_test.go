package media_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/stream/media"
)

type file struct {
	path   string
	length int64
}

func (f file) Path() string  { return f.path }
func (f file) Length() int64 { return f.length }

func files(paths ...string) []file {
	fs := make([]file, len(paths))
	for i, p := range paths {
		fs[i] = file{p, int64(100 + i)}
	}
	return fs
}

func TestLargestPrefersVideoThenSize(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files []file
		want  int
	}{
		{"nothing playable", files("a.txt", "b.iso"), -1},
		{"no files", nil, -1},
		{"largest video", []file{{"a.mkv", 5}, {"sample.mkv", 1}, {"b.iso", 99}}, 0},
		{"small video before large audio", []file{{"a.flac", 50}, {"clip.MP4", 2}}, 1},
		{"largest audio", []file{{"1.mp3", 5}, {"2.mp3", 9}, {"x.zip", 100}}, 1},
	} {
		if got := media.Largest(tc.files); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestPlaylistIsInNaturalOrder(t *testing.T) {
	fs := files("Disc 2/track 1.mp3", "Disc 1/track 10.mp3", "cover.jpg", "Disc 1/Track 2.mp3",
		"Disc 1 bonus/a.mp3", "intro.mp3", "Disc 10/track 1.mp3")
	var got []string
	for _, i := range media.Playlist(fs) {
		got = append(got, fs[i].path)
	}
	want := []string{"Disc 1/Track 2.mp3", "Disc 1/track 10.mp3", "Disc 1 bonus/a.mp3",
		"Disc 2/track 1.mp3", "Disc 10/track 1.mp3", "intro.mp3"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestSubtitlesOfAVideo(t *testing.T) {
	fs := files(
		"Show/E1.mkv", "Show/E1.srt", "Show/E1.en.srt", "Show/E10.srt", "Show/E10.mkv", // 0-4
		"Show/Subs/E1.fr.ass", "Show/Subs/E1/2_German.srt", "Show/Subs/other.srt", // 5-7
		"Film/Film.mp4", "Film/Subs/English.srt", "Film/readme.txt", "Film/other.srt", // 8-11
	)
	for _, tc := range []struct {
		video int
		want  []int
	}{
		{0, []int{2, 1, 5, 6}},
		{4, []int{3}},
		{8, []int{9}},
		{-1, nil},
		{99, nil},
	} {
		got := media.Subtitles(fs, tc.video)
		slices.Sort(got)
		slices.Sort(tc.want)
		if !slices.Equal(got, tc.want) {
			t.Errorf("video %d: got %v, want %v", tc.video, got, tc.want)
		}
	}
}

// TestOneFilmWithOneSubtitle: they belong together whatever the subtitle is called.
func TestOneFilmWithOneSubtitle(t *testing.T) {
	for name, tc := range map[string]struct {
		files []file
		want  []int // of the first
	}{
		"any name":                   {[]file{{"Film.2020.1080p.mkv", 9000}, {"english.srt", 1}}, []int{1}},
		"in a folder":                {[]file{{"Film/a.mkv", 9000}, {"Film/b.ass", 1}, {"Film/c.nfo", 1}}, []int{1}},
		"with a sample":              {[]file{{"a.mkv", 9000}, {"sample.mkv", 90}, {"b.srt", 1}}, []int{2}},
		"with music":                 {[]file{{"a.mkv", 9000}, {"theme.mp3", 900}, {"b.srt", 1}}, []int{2}},
		"halves of a VobSub":         {[]file{{"a.mkv", 9000}, {"b.idx", 1}, {"b.sub", 50}}, []int{1, 2}},
		"halves of different ones":   {[]file{{"a.mkv", 9000}, {"b.idx", 1}, {"c.sub", 50}}, nil},
		"two subtitles":              {[]file{{"a.mkv", 9000}, {"b.srt", 1}, {"c.srt", 1}}, nil},
		"one of two has its name":    {[]file{{"a.mkv", 9000}, {"a.srt", 1}, {"c.srt", 1}}, []int{1}},
		"two films":                  {[]file{{"a.mkv", 9000}, {"b.mkv", 8000}, {"c.srt", 1}}, nil},
		"of a sample":                {[]file{{"sample.mkv", 90}, {"a.mkv", 9000}, {"b.srt", 1}}, nil},
		"elsewhere":                  {[]file{{"a.mkv", 9000}, {"other/b.srt", 1}}, nil},
		"its own in Subs":            {[]file{{"a.mkv", 9000}, {"Subs/b.srt", 1}, {"c.srt", 1}}, []int{1}},
		"in Subs, beside a sample":   {[]file{{"a.mkv", 9000}, {"sample.mkv", 90}, {"Subs/b.srt", 1}}, []int{2}},
		"films of another folder":    {[]file{{"x/a.mkv", 9000}, {"y/b.mkv", 9000}, {"x/c.srt", 1}}, []int{2}},
		"an empty film":              {[]file{{"a.mkv", 0}, {"b.srt", 1}}, []int{1}},
		"two empty films, one in it": {[]file{{"a.mkv", 0}, {"b.mkv", 0}, {"c.srt", 1}}, nil},
	} {
		if got := media.Subtitles(tc.files, 0); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

func TestKinds(t *testing.T) {
	for _, name := range []string{"a.m2t", "a.tp", "a.evo", "a.wtv", "a.mpv", "a.ogx", "A.M2T", "a.ts", "a.mkv"} {
		if media.KindOf(name) != media.Video || !media.KindOf(name).Playable() || media.Type(name) == "application/octet-stream" {
			t.Errorf("%s is %s, %s", name, media.KindOf(name), media.Type(name))
		}
	}
}

func TestTypesNeverRunInABrowser(t *testing.T) {
	for _, name := range []string{"a.html", "a.htm", "a.svg", "a.xhtml", "a.xml", "a.js", "a", "a.", ".mp4/x"} {
		if got := media.Type(name); got != "application/octet-stream" {
			t.Errorf("%q is served as %s", name, got)
		}
	}
	if got := media.Type("Film.MKV"); got != "video/x-matroska" {
		t.Errorf("MKV is served as %s", got)
	}
}

// clip makes a two-second film with ffmpeg in the container that the name's
// extension asks for.
func clip(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	if testing.Short() {
		t.Skip("runs ffmpeg: not with -short")
	}
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		if os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1" {
			t.Fatalf("ffmpeg is required: %v", err)
		}
		t.Skipf("ffmpeg makes the clips of this test: %v", err)
	}
	out := filepath.Join(t.TempDir(), name)
	args = append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x64:rate=10:duration=2"}, args...)
	if msg, err := exec.Command(ffmpeg, append(args, out)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, msg)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDurationOfRealContainers(t *testing.T) {
	for name, args := range map[string][]string{
		"end.mp4":   {"-c:v", "mpeg4"},
		"start.mp4": {"-c:v", "mpeg4", "-movflags", "+faststart"},
		"clip.mov":  {"-c:v", "mpeg4"},
		"clip.mkv":  {"-c:v", "mpeg4"},
	} {
		t.Run(name, func(t *testing.T) {
			data := clip(t, name, args...)
			got, err := media.Duration(bytes.NewReader(data), int64(len(data)), name)
			if err != nil {
				t.Fatal(err)
			}
			if (got - 2*time.Second).Abs() > 200*time.Millisecond {
				t.Errorf("got %v, want 2s", got)
			}
		})
	}
}

func mp4(version byte, timescale uint32, duration uint64) []byte {
	body := []byte{version, 0, 0, 0}
	if version == 1 {
		body = append(body, make([]byte, 16)...)
		body = binary.BigEndian.AppendUint32(body, timescale)
		body = binary.BigEndian.AppendUint64(body, duration)
	} else {
		body = append(body, make([]byte, 8)...)
		body = binary.BigEndian.AppendUint32(body, timescale)
		body = binary.BigEndian.AppendUint32(body, uint32(duration))
	}
	body = append(body, make([]byte, 12)...)
	inBox := func(kind string, b []byte) []byte {
		out := binary.BigEndian.AppendUint32(nil, uint32(len(b)+8))
		return append(append(out, kind...), b...)
	}
	return append(inBox("ftyp", []byte("isom")), inBox("moov", inBox("mvhd", body))...)
}

func TestDurationOfBrokenContainers(t *testing.T) {
	ok := mp4(1, 1000, 5000)
	if d, err := media.Duration(bytes.NewReader(ok), int64(len(ok)), "a.mp4"); err != nil || d != 5*time.Second {
		t.Fatalf("64-bit mvhd: %v, %v", d, err)
	}
	for name, data := range map[string][]byte{
		"empty.mp4":     nil,
		"zeroscale.mp4": mp4(0, 0, 5),
		"endless.mp4":   mp4(1, 1, 1<<60),
		"cut.mp4":       ok[:len(ok)-20],
		"text.mp4":      []byte("this is no film at all, only words"),
		"text.mkv":      []byte("this is no film at all, only words"),
		"a.avi":         ok,
	} {
		if d, err := media.Duration(bytes.NewReader(data), int64(len(data)), name); !errors.Is(err, media.ErrNoDuration) {
			t.Errorf("%s: got %v, %v, want ErrNoDuration", name, d, err)
		}
	}
}

func FuzzDuration(f *testing.F) {
	f.Add(mp4(0, 1000, 2000), true)
	f.Add(mp4(1, 1000, 2000), true)
	f.Add([]byte("\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff\x15\x49\xa9\x66\x8b\x2a\xd7\xb1\x83\x0f\x42\x40\x44\x89\x84\x44\xfa\x00\x00"), false)
	f.Fuzz(func(t *testing.T, data []byte, isMP4 bool) {
		name := "a.mkv"
		if isMP4 {
			name = "a.mp4"
		}
		d, err := media.Duration(bytes.NewReader(data), int64(len(data)), name)
		if err == nil && d < 0 {
			t.Fatalf("negative duration %v", d)
		}
	})
}
