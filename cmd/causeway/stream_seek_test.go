package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// manySeeks is how often a player is started somewhere in a film.
const manySeeks = 20

// playing starts a stream of a file, and has play called with its URL, which must play
// while the file arrives.
func playing(t *testing.T, original string, play func(url string)) {
	t.Helper()
	s := arriving(t, original, playTime)
	play(s.event(t, "serving")["url"].(string))
	s.playedBeforeComplete(t)
	s.kill(t)
}

// seekingIn starts a stream of a film, and has seek called for places in it at random,
// in seconds. All of that must happen while the film arrives.
func seekingIn(t *testing.T, original string, seek func(url string, from float64)) {
	t.Helper()
	s := arriving(t, original, seekTime)
	url := s.event(t, "serving")["url"].(string)
	random := rand.New(rand.NewPCG(2, uint64(len(filepath.Base(original)))))
	for range manySeeks {
		seek(url, 0.1+random.Float64()*(clipSeconds-2))
		if t.Failed() {
			return
		}
	}
	if s.kill(t) {
		t.Errorf("all had arrived before the last of %d seeks", manySeeks)
	}
}

// TestMPVSeeks: mpv shows the same pictures from start to end, and after a seek, as with
// the original file.
func TestMPVSeeks(t *testing.T) {
	t.Parallel()
	programPath(t, "mpv")
	original := clip(t, "film.mp4", endMP4...)
	sums := func(source string, arguments ...string) string {
		path := filepath.Join(t.TempDir(), "sums")
		runProgram(t, "mpv", slices.Concat([]string{"--no-config", "--no-terminal", "--of=framemd5", "--o=" + path, "--ovc=rawvideo", "--no-audio"},
			arguments, []string{source})...)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	playing(t, original, func(url string) {
		if sums(url) != sums(original) {
			t.Error("other pictures from start to end")
		}
	})
	seekingIn(t, original, func(url string, from float64) {
		part := []string{fmt.Sprintf("--start=%.2f", from), "--frames=3"}
		if got := sums(url, part...); !strings.Contains(got, "\n0,") || got != sums(original, part...) {
			t.Errorf("other pictures from second %.2f on", from)
		}
	})
}

// TestVLCSeeks: what VLC reads from start to end decodes to the original file's frames,
// and after a seek to those around the place it was asked for.
func TestVLCSeeks(t *testing.T) {
	t.Parallel()
	programPath(t, "vlc")
	original := clip(t, "film.mp4", endMP4...)
	all := pictureSums(t, original)
	playing(t, original, func(url string) {
		got := pictureSums(t, vlcCopy(t, url, 0, clipSeconds+1))
		// Its multiplexer drops some at both ends, of local files too.
		if count := strings.Count(got, "\n"); !strings.Contains(all, got) || count < 0.9*25*clipSeconds {
			t.Errorf("%d frames from start to end, or others than those of the film", count)
		}
	})
	seekingIn(t, original, func(url string, from float64) {
		got := pictureSums(t, vlcCopy(t, url, from, from+0.5))
		first := strings.Index(all, got)
		if got == "" || first < 0 {
			t.Errorf("other frames from second %.2f on", from)
			return
		}
		// The test film has 25 frames a second, and VLC starts at the one before that can
		// be decoded by itself.
		at := strings.Count(all[:first], "\n")
		until := at + strings.Count(got, "\n")
		if want := int(math.Round(from * 25)); at > want || until < want {
			t.Errorf("frames %d to %d for second %.2f", at, until, from)
		}
	})
}

// pictureSums are the checksums of a film's decoded pictures, a line each.
func pictureSums(t *testing.T, path string) string {
	t.Helper()
	var sums strings.Builder
	for line := range strings.Lines(runProgram(t, "ffmpeg", "-v", "error", "-i", "file:"+path, "-map", "0:v", "-f", "framemd5", "-")) {
		if !strings.HasPrefix(line, "#") {
			sums.WriteString(line[strings.LastIndex(line, ",")+1:])
		}
	}
	return sums.String()
}

// vlcCopy has VLC copy a part of a film, in seconds, without encoding it again. It
// returns the copy's path.
func vlcCopy(t *testing.T, url string, from, until float64) string {
	t.Helper()
	dir := vlcFolder(t)
	path := filepath.Join(dir, "copy.ts")
	arguments := []string{
		"vlc", "-I", "dummy", "--no-dbus", "--play-and-exit", fmt.Sprintf("--start-time=%.2f", from), fmt.Sprintf("--stop-time=%.2f", until),
		"--sout=#std{access=file,mux=ts,dst=" + path + "}", url,
	}
	if os.Getuid() == 0 { // as whom VLC refuses to run
		arguments = append([]string{"setpriv", "--reuid=nobody", "--clear-groups", "env", "HOME=" + dir}, arguments...)
	}
	if out, err := exec.CommandContext(t.Context(), arguments[0], arguments[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", arguments, err, out)
	}
	return path
}
