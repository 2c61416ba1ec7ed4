package websocket_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/causeway-bt/causeway/tracker/ws"
)

// torrent is what package tracker/ws announces.
type torrent struct {
	peer ws.ID

	mu       sync.Mutex
	left     int64
	made     int
	answered []string // answers that came
	status   ws.Status
}

func idOf(s string) (id ws.ID) {
	copy(id[:], named(s))
	return id
}

func (*torrent) InfoHash() ws.ID { return idOf("hash") }
func (t *torrent) PeerID() ws.ID { return t.peer }
func (*torrent) WantOffers() int { return 2 }

func (t *torrent) Progress() ws.Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	return ws.Progress{Left: t.left}
}

func (t *torrent) Offers(_ context.Context, n int) []ws.Offer {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]ws.Offer, n)
	for i := range list {
		t.made++
		list[i] = ws.Offer{ID: idOf(fmt.Sprintf("offer %d of %s", t.made, t.peer[:1])), SDP: "offer"}
	}
	return list
}

func (t *torrent) Answer(_ context.Context, _, _ ws.ID, sdp string) (string, error) {
	return "answer to " + sdp, nil
}

func (t *torrent) Answered(_, _ ws.ID, sdp string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answered = append(t.answered, sdp)
}

func (t *torrent) Status(s ws.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status = s
}

// Our own client announces, meets another, completes and leaves.
func TestOurOwnClient(t *testing.T) {
	tr := start(t, nil)
	m := ws.New(ws.Config{})
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	add := func(torrent *torrent) *ws.Handle {
		h, err := m.Add(tr.url, torrent)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	seed, leech := &torrent{peer: idOf("seed")}, &torrent{peer: idOf("leech"), left: 100}
	add(seed)
	tr.expectPeers(1)
	other := ws.New(ws.Config{}) // a socket of its own
	defer func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}()
	h, err := other.Add(tr.url, leech)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "an answer", func() bool {
		leech.mu.Lock()
		defer leech.mu.Unlock()
		return len(leech.answered) == 1 && leech.answered[0] == "answer to offer" && leech.status.Seeds == 1
	})
	leech.mu.Lock()
	leech.left = 0
	leech.mu.Unlock()
	h.Completed()
	waitFor(t, "two seeds", func() bool { c, err := tr.table.Scrape(idOf("hash")); return err == nil && c.Complete == 2 })
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	tr.expectPeers(1)
}
