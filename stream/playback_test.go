package stream_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/stream"
	"github.com/causeway-bt/causeway/stream/player"
)

// requirePeers turns the absence of another program from a skip into a failure.
const requirePeers = "CAUSEWAY_REQUIRE_PEERS"

func program(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("runs %s: not with -short", name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv(requirePeers) == "1" {
			t.Fatalf("%s is required: %v", name, err)
		}
		t.Skipf("this test plays with %s: %v", name, err)
	}
	return path
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program(t, name), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return string(out)
}

// clip makes six seconds of film with sound, and subtitles where the container
// takes them.
func clip(t *testing.T, name string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	subs := filepath.Join(dir, "subs.srt")
	if err := os.WriteFile(subs, []byte("1\n00:00:01,000 --> 00:00:03,000\nHello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, name)
	all := []string{"-v", "error",
		"-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=6",
		"-f", "lavfi", "-i", "sine=frequency=440:duration=6",
		"-i", subs}
	all = append(all, args...)
	// The size makes several dozen pieces of it.
	run(t, "ffmpeg", append(all, "-b:v", "1500k", out)...)
	return out
}

var (
	endMP4   = []string{"-map", "0", "-map", "1", "-c:v", "mpeg4", "-c:a", "aac"}
	startMP4 = append(slices.Clone(endMP4), "-movflags", "+faststart")
	withSubs = []string{"-map", "0", "-map", "1", "-map", "2", "-c:v", "mpeg4", "-c:a", "aac", "-c:s", "srt"}
	onlyMP3  = []string{"-map", "1", "-c:a", "libmp3lame", "-b:a", "320k"}
)

// download serves a file that arrives piece by piece, what players wait for first.
func download(t *testing.T, path, name string) (url string, s *stream.Server) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := newFile(name, data)
	torrent := newTorrent(file)
	s, base := serve(t, stream.Config{}, torrent)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { file.supply(ctx, 5*time.Millisecond) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return s.LinksAt(base).File(torrent, 0), s
}

// frames returns the checksum of each decoded frame from a position on.
func frames(t *testing.T, input string, from float64) string {
	t.Helper()
	return run(t, "ffmpeg", "-v", "error", "-ss", fmt.Sprintf("%.2f", from), "-i", input, "-f", "framemd5", "-")
}

// TestFFmpegDecodesTheSameFrames while the file is downloaded, from the start to
// the end, and after seeks.
func TestFFmpegDecodesTheSameFrames(t *testing.T) {
	for name, args := range map[string][]string{
		"index at the end.mp4":    endMP4,
		"index at the start.mp4":  startMP4,
		"subtitles.mkv":           withSubs,
		"music.mp3":               onlyMP3,
		`"100%" naïve #1? 日本.mkv`: withSubs,
	} {
		t.Run(name, func(t *testing.T) {
			original := clip(t, "clip"+filepath.Ext(name), args...)
			url, _ := download(t, original, name)
			rnd := rand.New(rand.NewPCG(1, 2))
			for i := range 6 {
				from := 0.0
				if i > 0 {
					from = rnd.Float64() * 5.5
					url, _ = download(t, original, name) // nothing is there yet
				}
				if frames(t, url, from) != frames(t, original, from) {
					t.Errorf("other frames from second %.2f on", from)
				}
			}
			if got := run(t, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", url); !strings.HasPrefix(got, "6.") {
				t.Errorf("ffprobe reads a duration of %q", got)
			}
		})
	}
}

func TestBitrateComesFromTheHeader(t *testing.T) {
	for name, args := range map[string][]string{"end.mp4": endMP4, "a.mkv": withSubs} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(clip(t, name, args...))
			if err != nil {
				t.Fatal(err)
			}
			file := newFile(name, data)
			for i := range file.have { // all but one in the middle, where the response waits
				if i != len(file.have)/2 {
					file.verify(i)
				}
			}
			s, base := serve(t, stream.Config{}, newTorrent(file))
			do(t, http.MethodGet, base+"/t/"+fakeHash+"/0")
			want := float64(len(data)) / 6
			file.await(t, "the reader of the header", func() bool { return file.opened == 2 && len(file.readers) == 1 })
			got := 0.0 // until what was read has been looked at
			for began := time.Now(); got == 0 && time.Since(began) < 10*time.Second; time.Sleep(time.Millisecond) {
				got = s.Bitrate(newTorrent(file), 0)
			}
			if got < 0.95*want || got > 1.05*want {
				t.Errorf("got %.0f bytes/s, want about %.0f", got, want)
			}
		})
	}
}

func TestMPVPlaysWhileDownloading(t *testing.T) {
	program(t, "mpv")
	original := clip(t, "clip.mkv", withSubs...)
	decode := func(input, start string) string {
		out := filepath.Join(t.TempDir(), "frames")
		run(t, "mpv", "--no-config", "--no-terminal", "--start="+start, "--of=framemd5", "--o="+out, "--ovc=rawvideo", "--no-audio", input)
		sums, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return string(sums)
	}
	for _, start := range []string{"0", "4.2"} {
		url, _ := download(t, original, "a film #1.mkv")
		if decode(url, start) != decode(original, start) {
			t.Errorf("other frames from second %s on", start)
		}
	}
	t.Run("with subtitles and a playlist", func(t *testing.T) {
		first, _ := download(t, original, "1.mkv")
		second, _ := download(t, original, "2.mkv")
		mpv, err := player.Find("mpv")
		if err != nil {
			t.Fatal(err)
		}
		subs := filepath.Join(t.TempDir(), "subs.vtt")
		if err := os.WriteFile(subs, []byte("WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		mpv.Args = []string{"--no-config", "--vo=null", "--ao=null", "--untimed"}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err = mpv.Run(ctx, player.Media{
			Items: []player.Item{{URL: first, Subtitles: []string{subs}}, {URL: second}}, Title: "A film",
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// vlc returns VLC as a command that does without a screen, and without being
// root, which it refuses to run as.
func vlc(t *testing.T, home string) []string {
	t.Helper()
	words := []string{program(t, "vlc"), "-I", "dummy", "--no-video-title-show", "--play-and-exit", "--no-dbus"}
	if os.Getuid() != 0 {
		return words
	}
	for dir := home; dir != filepath.Dir(os.TempDir()) && strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return append([]string{program(t, "setpriv"), "--reuid=nobody", "--clear-groups", "env", "HOME=" + home}, words...)
}

func TestVLCPlaysWhileDownloading(t *testing.T) {
	program(t, "vlc")
	original := clip(t, "clip.mp4", endMP4...)
	home := t.TempDir()
	words := vlc(t, home)
	sums := func(path string) []string {
		var sums []string
		for line := range strings.Lines(run(t, "ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-f", "framemd5", "-")) {
			if fields := strings.Split(strings.TrimSpace(line), ","); !strings.HasPrefix(line, "#") {
				sums = append(sums, fields[len(fields)-1])
			}
		}
		return sums
	}
	t.Run("every frame", func(t *testing.T) {
		url, _ := download(t, original, "a film #1.mp4")
		copied := filepath.Join(home, "copy.ts")
		run(t, words[0], append(slices.Clone(words[1:]), "--sout=#std{access=file,mux=ts,dst="+copied+"}", url)...)
		// Its multiplexer drops some frames at both ends, of local files too.
		got, want := sums(copied), sums(original)
		if len(got) < len(want)*9/10 || !isSubsequence(got, want) {
			t.Errorf("VLC got %d frames, the file has %d others", len(got), len(want))
		}
	})
	t.Run("at its own pace, a playlist", func(t *testing.T) {
		url, s := download(t, original, "a.mp4")
		list := strings.TrimSuffix(url, "/a.mp4") + ".m3u8"
		run(t, words[0], append(slices.Clone(words[1:]), "--vout=dummy", "--aout=dummy", "--rate=4", list)...)
		for _, r := range s.Readers() {
			t.Errorf("VLC left %+v", r)
		}
	})
}

func isSubsequence(part, whole []string) bool {
	for _, p := range part {
		i := slices.Index(whole, p)
		if i < 0 {
			return false
		}
		whole = whole[i+1:]
	}
	return true
}
