package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// manySeeks is how often a player is started somewhere in a film.
const manySeeks = 20

// seekingIn starts a stream of a film that is still arriving, and has seek called for
// places in it at random, in seconds.
func seekingIn(t *testing.T, original string, seek func(url string, from float64)) {
	t.Helper()
	name := filepath.Base(original)
	seeder := startSeederOf(t, filepath.Dir(original), name, "--up-limit", clipLimit)
	s := startStream(t, t.TempDir(), seeder.magnet, "--peer", seeder.address)
	url := s.event(t, "serving")["url"].(string)
	random := rand.New(rand.NewPCG(2, uint64(len(name))))
	for range manySeeks {
		seek(url, 0.1+random.Float64()*(clipSeconds-2))
		if t.Failed() {
			return
		}
	}
}

// TestMPVSeeks: mpv shows the same pictures after a seek as with the original file.
func TestMPVSeeks(t *testing.T) {
	t.Parallel()
	programPath(t, "mpv")
	original := clip(t, "film.mp4", endMP4...)
	pictures := func(source string, from float64) string {
		dir := t.TempDir()
		runProgram(t, "mpv", "--no-config", "--really-quiet", fmt.Sprintf("--start=%.2f", from), "--frames=3",
			"--ao=null", "--vo=image", "--vo-image-format=png", "--vo-image-png-compression=1", "--vo-image-outdir="+dir, source)
		var all strings.Builder
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
		return all.String()
	}
	seekingIn(t, original, func(url string, from float64) {
		if got := pictures(url, from); got == "" || got != pictures(original, from) {
			t.Errorf("other pictures from second %.2f on", from)
		}
	})
}

// TestVLCSeeks: what VLC reads after a seek decodes to frames of the original file,
// around the place it was asked for.
func TestVLCSeeks(t *testing.T) {
	t.Parallel()
	programPath(t, "vlc")
	original := clip(t, "film.mp4", endMP4...)
	all := pictureSums(t, original)
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
		if want := int(from * 25); at > want || until < want {
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
	dir, err := os.MkdirTemp("", "vlc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
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
