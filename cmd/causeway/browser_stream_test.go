package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// toolPath finds a program. Where CAUSEWAY_REQUIRE_PEERS=1, as in continuous
// integration, its absence is a failure.
func toolPath(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("runs %s: not with -short", name)
	}
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("CAUSEWAY_REQUIRE_PEERS") == "1":
		t.Fatalf("CAUSEWAY_REQUIRE_PEERS=1, but %s is missing: %v", name, err)
	default:
		t.Skipf("%s is missing: %v", name, err)
	}
	return path
}

// tool runs a program and returns its standard output.
func tool(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	out, err := exec.CommandContext(within(t, patience), toolPath(t, name), arguments...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		t.Fatalf("%s %q: %v", name, arguments, err)
	}
	return string(out)
}

// film makes a small MP4 with its index at the end, as content of one file.
func film(t *testing.T) *fixture.Torrent {
	t.Helper()
	const name, seconds = "film.mp4", 6
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	tool(t, "ffmpeg", "-v", "error",
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc=size=320x240:rate=25:duration=%d", seconds),
		"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=440:duration=%d", seconds),
		"-c:v", "mpeg4", "-b:v", "1500k", "-c:a", "aac", path)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture.Torrent{Name: name, Dir: dir, Size: st.Size(), Files: []fixture.File{{Size: st.Size()}}}
}

// A page is the only one who has the film; causeway streams it, by magnet link and
// over WebRTC alone, to a player, and ends with it.
func TestStreamWhatABrowserSeeds(t *testing.T) {
	content := film(t)
	original := content.FilePath(content.Dir, 0)
	// Others than root must be able to write what their player leaves.
	out, err := os.MkdirTemp("", "player")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(out) })
	if err := os.Chmod(out, 0o777); err != nil {
		t.Fatal(err)
	}
	play := func(t *testing.T, player string) {
		realpeer.Need(t, realpeer.Chromium, realpeer.WebTorrent)
		tracker := realpeer.StartWebTracker(t, 0)
		_, magnet := seedingPage(t, realpeer.Chromium, tracker, content)
		run := start(t, args([]string{
			"stream", magnet, "-o", t.TempDir(), "--no-tcp", "--no-utp", "--http", "127.0.0.1:0", "--player", player,
		}, toWeb(tracker))...)
		waitExit(t, run, 0)
	}
	same := func(t *testing.T, got string, want []byte) {
		b, err := os.ReadFile(got)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, want) {
			t.Errorf("the player made %d bytes of it that differ from the %d of the original", len(b), len(want))
		}
	}
	t.Run("ffmpeg decodes the very frames", func(t *testing.T) {
		frames := filepath.Join(out, "frames")
		play(t, "ffmpeg -v error -i {} -f framemd5 "+frames)
		same(t, frames, []byte(tool(t, "ffmpeg", "-v", "error", "-i", original, "-f", "framemd5", "-")))
	})
	t.Run("VLC reads the very bytes", func(t *testing.T) {
		toolPath(t, "vlc")
		dump := filepath.Join(out, "dump")
		vlc := "vlc -I dummy --play-and-exit --no-dbus --demux=dump --demuxdump-file=" + dump + " {}"
		if os.Getuid() == 0 { // as which VLC refuses to run
			vlc = "setpriv --reuid=nobody --clear-groups env HOME=" + out + " " + vlc
		}
		play(t, vlc)
		want, err := os.ReadFile(original)
		if err != nil {
			t.Fatal(err)
		}
		same(t, dump, want)
	})
}
