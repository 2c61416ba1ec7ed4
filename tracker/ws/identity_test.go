package ws

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

func TestEachTorrentHasItsOwnPeerID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := &fakeTracker{t: t}
		m := tracker.manager()
		defer closeManager(t, m)
		one, two := newTorrent("one"), newTorrent("two")
		one.peer, two.peer = idOf("-CW0100-of one"), idOf("-CW0100-of two")
		add(t, m, fakeURL, one)
		add(t, m, fakeURL, two)
		ids := map[ID]ID{}
		for _, r := range tracker.take() {
			ids[r.InfoHash] = r.PeerID
		}
		if len(tracker.dials) != 1 || ids[one.hash] != one.peer || ids[two.hash] != two.peer {
			t.Fatalf("%d connections, ids %q", len(tracker.dials), ids)
		}
		// The echo of one torrent is a stranger in the other.
		offered := map[string]any{"action": "announce", "info_hash": two.hash, "peer_id": two.peer,
			"offer_id": idOf("offer"), "offer": description{"offer", "sdp"}}
		tracker.push(offered)
		if got := tracker.take(); len(got) != 0 {
			t.Errorf("answered ourselves: %+v", got)
		}
		offered["peer_id"] = idOf("a browser")
		tracker.push(offered)
		if got := tracker.take(); events(got) != "answer" || got[0].PeerID != two.peer {
			t.Errorf("answer: %+v", got)
		}
	})
}

// TestTrackerWithOnePeerIDPerConnection meets a tracker that closes a connection on
// which a second peer id appears, as wt-tracker does, before or after it has answered
// to the first.
func TestTrackerWithOnePeerIDPerConnection(t *testing.T) {
	for _, answersFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			tracker := &fakeTracker{t: t}
			m := New(Config{Dial: func(ctx context.Context, url string) (Conn, error) {
				conn, err := tracker.dial(ctx, url)
				return &strict{Conn: conn, tracker: tracker, answersFirst: answersFirst}, err
			}})
			defer closeManager(t, m)
			var torrents []*fakeTorrent
			for _, name := range []string{"one", "two", "three"} {
				torrent := newTorrent(name)
				torrent.peer = idOf("-CW0100-of " + name)
				torrents = append(torrents, torrent)
				add(t, m, fakeURL, torrent)
			}
			time.Sleep(10 * time.Second)
			tracker.take()
			n := len(tracker.dials)
			time.Sleep(time.Hour)
			ids := map[ID]bool{}
			for _, r := range tracker.take() {
				ids[r.PeerID] = true
			}
			if len(ids) != 1 || len(tracker.dials) != n {
				t.Fatalf("%d ids, connected %d times in an hour", len(ids), len(tracker.dials)-n)
			}
			for id := range ids {
				if !strings.HasPrefix(string(id[:]), "-CW0100-") || slices.ContainsFunc(torrents, func(f *fakeTorrent) bool { return f.peer == id }) {
					t.Errorf("the shared id is %q", id)
				}
			}
			for _, torrent := range torrents {
				if status := torrent.last(); status.Err != nil || status.Seeds != 3 {
					t.Errorf("%s: %+v", torrent.hash[:5], status)
				}
			}
		})
	}
}

// strict is a connection to a tracker that takes one peer id on it, and answers.
type strict struct {
	Conn
	tracker      *fakeTracker
	answersFirst bool
	mu           sync.Mutex
	id           *ID
}

func (c *strict) Write(ctx context.Context, b []byte) error {
	var m announceMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.id != nil && *c.id != m.PeerID {
		return c.Close()
	}
	first := c.id == nil
	c.id = &m.PeerID
	if err := c.Conn.Write(ctx, b); err != nil || first && !c.answersFirst {
		return err
	}
	c.tracker.push(reply(m.InfoHash, 1800))
	return nil
}

func TestCompletedIsSaidBeforeStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := &fakeTracker{t: t}
		m := tracker.manager()
		defer closeManager(t, m)
		h := add(t, m, fakeURL, newTorrent("torrent"))
		tracker.take()
		h.Completed() // in a goroutine that has not come far yet
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if got := events(tracker.take()); got != "completed stopped" {
			t.Errorf("said %q", got)
		}
	})
}

// slowOffers takes its time to make offers.
type slowOffers struct{ *fakeTorrent }

func (s slowOffers) Offers(ctx context.Context, n int) []Offer {
	<-ctx.Done()
	return nil
}

func TestDownloadThatIsQuickerThanItsFirstAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := &fakeTracker{t: t}
		m := tracker.manager()
		defer closeManager(t, m)
		h := add(t, m, fakeURL, slowOffers{newTorrent("torrent")})
		synctest.Wait()
		h.Completed()
		start := time.Now()
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if got := events(tracker.take()); got != "started completed stopped" || time.Since(start) > stopTimeout {
			t.Errorf("said %q in %v", got, time.Since(start))
		}
	})
}

func TestPathIsDialledAsItIs(t *testing.T) {
	asked := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.RequestURI():
		default:
		}
		http.NotFound(w, r)
	}))
	defer server.Close()
	for _, path := range []string{"/announce/", "/announce", "/a%2Fb//?key=x%20y", "/"} {
		status := firstStatus(t, nil, " "+webSocketURL(server)+path+"\n")
		if got := <-asked; got != path {
			t.Errorf("asked for %q, want %q", got, path)
		}
		if err := status.Err; err == nil || !strings.Contains(err.Error(), "there is no WebSocket tracker: HTTP status 404 Not Found") {
			t.Errorf("status %v", err)
		}
		for len(asked) > 0 {
			<-asked
		}
	}
}

// panicking panics where remote bytes lead to.
type panicking struct{ *fakeTorrent }

func (panicking) Answer(context.Context, ID, ID, string) (string, error) { panic("in Answer") }
func (panicking) Answered(ID, ID, string)                                { panic("in Answered") }

func TestPanicEndsOneConnectionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := &fakeTracker{t: t}
		m := tracker.manager()
		defer closeManager(t, m)
		torrent := newTorrent("torrent")
		add(t, m, fakeURL, panicking{torrent})
		tracker.take()
		message := map[string]any{"action": "announce", "info_hash": torrent.hash, "peer_id": idOf("peer"),
			"offer_id": idOf("offer"), "offer": description{"offer", "sdp"}}
		tracker.push(message)
		synctest.Wait()
		delete(message, "offer")
		message["answer"] = description{"answer", "sdp"}
		tracker.push(message)
		time.Sleep(5 * time.Second)
		if got := events(tracker.take()); got != "stopped started" || len(tracker.dials) != 2 {
			t.Errorf("%d connections, announced %q", len(tracker.dials), got)
		}
	})
}

func TestWordsForWebSocketErrors(t *testing.T) {
	for want, err := range map[string]error{
		"the tracker closed the connection: too many":        websocket.CloseError{Code: 1008, Reason: "too many"},
		"the tracker closed the connection (GoingAway)":      websocket.CloseError{Code: 1001},
		"the server closed the connection without an answer": io.EOF,
		"no answer in time": context.DeadlineExceeded,
		"odd":               errors.New("odd"),
	} {
		if got := inWords(nil, err); got.Error() != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
