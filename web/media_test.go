package web_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/bench/webpage"
	"github.com/causeway-bt/causeway/web"
	"github.com/causeway-bt/causeway/web/testhost"
)

// needPage skips a test that needs the bundled page and what drives browsers.
func needPage(t *testing.T, programs ...realpeer.Program) {
	t.Helper()
	webpage.Need(t, web.Built(), "test", programs...)
}

// TestMain removes what the tests make once for all of them.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "causeway-web-")
	if err != nil {
		panic(err)
	}
	made = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// made is the folder of what is made once.
var made string

// causeway is the program, built once.
var causeway = sync.OnceValues(func() (string, error) {
	path := filepath.Join(made, "causeway")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/causeway").CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// media makes test films, once: a folder with
//
//	clip.webm (VP9, Opus; 20 s), film.mp4 (H.264, AAC; 30 s), dolby.mkv (H.264, AC-3),
//	dark.mp4 (grey, without sound), picture.png, and subtitles of the first two.
var media = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(made, "media")
	err := os.Mkdir(dir, 0o700)
	run := func(args ...string) {
		if err != nil {
			return
		}
		cmd := exec.Command("ffmpeg", append([]string{"-hide_banner", "-loglevel", "error", "-y"}, args...)...)
		cmd.Dir = dir
		if out, failed := cmd.CombinedOutput(); failed != nil {
			err = errors.New(string(out))
		}
	}
	run("-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-f", "lavfi", "-i", "sine=frequency=330", "-t", "30",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac", "-movflags", "+faststart", "film.mp4")
	run("-i", "film.mp4", "-t", "20", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M", "-g", "25", "-c:a", "libopus", "clip.webm")
	run("-i", "film.mp4", "-t", "20", "-c:v", "copy", "-c:a", "ac3", "dolby.mkv")
	run("-f", "lavfi", "-i", "color=c=0x202020:size=640x360:rate=25", "-t", "10", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "dark.mp4")
	run("-f", "lavfi", "-i", "testsrc2=size=320x200", "-frames:v", "1", "picture.png")
	srt := "1\n00:00:00,200 --> 00:00:29,000\nThe first words.\n"
	for _, name := range []string{"film.en.srt", "clip.en.srt"} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(srt), 0o600))
	}
	return dir, err
})

func mediaFile(t *testing.T, name string) string {
	t.Helper()
	dir, err := media()
	if err != nil {
		t.Fatalf("make test films: %v", err)
	}
	return filepath.Join(dir, name)
}

// folderOf makes a folder with some of the test films in it.
func folderOf(t *testing.T, names ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shared")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Link(mediaFile(t, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// share starts a host, with a tracker that it announces.
func share(t *testing.T, o testhost.Options) (*testhost.Host, *realpeer.WebTracker) {
	t.Helper()
	tracker := realpeer.StartWebTracker(t, 0)
	o.Announce = []string{tracker.URL}
	host, err := testhost.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	return host, tracker
}

// seed has causeway seed what a host shares.
func seed(t *testing.T, host *testhost.Host, path string, tracker *realpeer.WebTracker, flags ...string) *cli.Run {
	t.Helper()
	program, err := causeway()
	if err != nil {
		t.Fatalf("build causeway: %v", err)
	}
	torrent := filepath.Join(t.TempDir(), "shared.torrent")
	if err := os.WriteFile(torrent, host.Torrent, 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{
		"seed", torrent, "--data", filepath.Dir(path), "--listen", "127.0.0.1", "--port", "0", "--no-dht", "--no-lsd", "--no-portmap", "--no-webrtc=false",
		"--stun", "stun:127.0.0.1:9", // nobody is there: nothing leaves this machine
		"--state", t.TempDir(), "--tracker", tracker.URL,
	}, flags...)
	run, err := cli.Start(program, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		run.Stop()
		if last, ok := run.Last("progress"); ok && t.Failed() {
			t.Logf("causeway gave %d bytes, to %d pages at the end", last.Uploaded, last.Peers.WebRTC)
		}
	})
	if _, err := run.WaitEvent(t.Context(), "seeding"); err != nil {
		t.Fatal(err)
	}
	return run
}

// do runs a scenario of test/scenarios.mjs, and fills found with what it found. said is
// told what it says on its way.
func do(t *testing.T, browser realpeer.Program, scenario, url string, found any, more map[string]any, said func(string)) {
	t.Helper()
	result, err := webpage.Scenario{Name: scenario, URL: url, Browser: browser, Options: more, Said: said}.Run("test", t.TempDir(), found)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s in %s: %.600s", scenario, browser, result)
}

func hashOf(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
