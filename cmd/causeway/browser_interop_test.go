package main_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// silentSTUN takes the place of the public STUN servers, which tests must not ask:
// the discard port, where nobody answers.
const silentSTUN = "stun:127.0.0.1:9"

// toWeb are the flags to meet browsers by a WebSocket tracker, on loopback.
func toWeb(tracker *realpeer.WebTracker) []string {
	return args([]string{"--no-webrtc=false", "--stun", silentSTUN, "--no-dht", "--tracker", tracker.URL}, base)
}

// pageHas waits until a page has the content, and compares its hash with that of the
// only file of a torrent.
func pageHas(t *testing.T, b *realpeer.Browser, page int, tor *fixture.Torrent) realpeer.PageEvent {
	t.Helper()
	e, err := b.WaitPage(within(t, patience), page, "complete")
	if err != nil {
		t.Fatal(err)
	}
	if want := fileSHA256(t, tor.FilePath(tor.Dir, 0)); e.SHA256 != want || e.Length != tor.Size {
		t.Errorf("page %d has %d bytes with SHA-256 %s, want %d with %s", page, e.Length, e.SHA256, tor.Size, want)
	}
	return e
}

func fileSHA256(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// lastProgress returns the newest progress of a run.
func lastProgress(run *cli.Run) cli.Event {
	e, _ := run.Last("progress")
	return e
}

func TestBrowserDownloads(t *testing.T) {
	for _, test := range []struct {
		name string
		o    realpeer.BrowserOptions
	}{
		{"Chromium that hides its addresses", realpeer.BrowserOptions{Browser: realpeer.Chromium}},
		{"Chromium that shows its addresses", realpeer.BrowserOptions{Browser: realpeer.Chromium, ShowAddresses: true}},
		{"Firefox that hides its addresses", realpeer.BrowserOptions{Browser: realpeer.Firefox}},
	} {
		t.Run(test.name, func(t *testing.T) {
			realpeer.Need(t, test.o.Browser, realpeer.WebTorrent)
			tor := single(t, 8<<20+4321)
			tracker := realpeer.StartWebTracker(t, 0)
			run, _ := seed(t, tor, append(toWeb(tracker), "-v")...)
			test.o.Torrent, test.o.Trackers = tor.Path, []string{tracker.URL}
			pageHas(t, realpeer.StartBrowser(t, test.o), 0, tor)
			eventually(t, patience, "all of it counted as uploaded", func() bool {
				return lastProgress(run).Uploaded >= tor.Size
			})
			if !strings.Contains(run.Output(), "larger packets\" bytes=14") {
				t.Errorf("its packets did not become larger\n%s", run.Output())
			}
		})
	}
}
