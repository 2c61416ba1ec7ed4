package client

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/tracker/ws"
)

// hasReason waits until a torrent sees no browser for a reason.
func hasReason(t *testing.T, torrent *Torrent, want string) {
	t.Helper()
	var reason string
	until(t, 10*time.Second, "alone because "+want, func() bool {
		why := make(chan string, 1)
		torrent.do(func() { why <- torrent.web.whyAlone() })
		reason = <-why
		return torrent.webPeers.Load() == 0 && strings.Contains(reason, want)
	})
	t.Log(reason)
}

// withTracker is a torrent one of whose trackers can be reached, and knows of a browser.
func withTracker(t *testing.T, torrent *meta.Torrent, dir string) *Torrent {
	t.Helper()
	cfg := web(t)
	cfg.DisableTrackers = false
	seed := add(t, newClient(t, cfg), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir, Trackers: []string{"ws://127.0.0.1:1"}})
	seed.web.Status(ws.Status{URL: "ws://there", Seeds: 1, Leeches: 1})
	return seed
}

// A browser that came and left makes void what kept others away before.
func TestReasonsEndWithABrowser(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 64<<10)
	seed := withTracker(t, torrent, dir)
	hasReason(t, seed, "nobody has answered our offers")
	failed, err := seed.web.begin(negotiation{peer: ws.ID{1}})
	if err != nil {
		t.Fatal(err)
	}
	seed.web.end(failed, errors.New("no way through"))
	hasReason(t, seed, "could not be made (1); the last: no way through")
	page := add(t, newClient(t, web(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
	if err := introduce(t, page, seed); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the download", page, page.Complete())
	if err := page.Close(); err != nil {
		t.Error(err)
	}
	hasReason(t, seed, "have gone")
}

// A page that makes two connections at once drops one of them.
func TestCrossingConnectionIsNoFailure(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 64<<10)
	seed := withTracker(t, torrent, dir)
	theirs, err := seed.web.begin(negotiation{peer: ws.ID{1}})
	if err != nil {
		t.Fatal(err)
	}
	ours, err := seed.web.begin(negotiation{peer: ws.ID{1}, offered: true})
	if err != nil {
		t.Fatal(err)
	}
	seed.web.end(ours, io.EOF)
	hasReason(t, seed, "nobody has answered our offers")
	seed.web.end(theirs, io.EOF)
	hasReason(t, seed, "could not be made (1)")
}
