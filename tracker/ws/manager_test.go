package ws

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const fakeURL = "ws://tracker.example/announce"

func reply(hash ID, interval float64) map[string]any {
	return map[string]any{"action": "announce", "info_hash": hash, "complete": 3, "incomplete": 4, "interval": interval}
}

func events(rs []received) string {
	var names []string
	for _, r := range rs {
		name := r.Event
		if name == "" {
			name = "update"
		}
		if r.Answer != nil {
			name = "answer"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func TestAnnouncesThroughTheLifeOfATorrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := &fakeTracker{t: t}
		m := tracker.manager()
		torrent := newTorrent("torrent")
		h := add(t, m, fakeURL, torrent)

		first := tracker.take()
		if events(first) != "started" || len(first[0].Offers) != 5 || first[0].NumWant != 5 ||
			first[0].Left != unknownLeft || first[0].PeerID != testPeerID {
			t.Fatalf("first announce: %+v", first)
		}
		tracker.push(reply(torrent.hash, 120))
		synctest.Wait()
		if got := torrent.last(); got.Seeds != 3 || got.Leeches != 4 || got.Interval != 2*time.Minute || got.Err != nil || got.Offers != 5 {
			t.Errorf("status %+v", got)
		}
		time.Sleep(95 * time.Second)
		if got := tracker.take(); len(got) != 0 {
			t.Errorf("announced before the interval: %+v", got)
		}
		time.Sleep(26 * time.Second)
		if got := tracker.take(); events(got) != "update" {
			t.Errorf("after the interval: %s", events(got))
		}
		torrent.left = 0
		h.Completed()
		got := tracker.take()
		if events(got) != "completed" || len(got[0].Offers) != 0 || got[0].Left != 0 {
			t.Errorf("completion: %+v", got)
		}
		torrent.want = 0 // enough peers
		h.Announce()
		if got := tracker.take(); events(got) != "update" || len(got[0].Offers) != 0 {
			t.Errorf("announce with enough peers: %+v", got)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if got := tracker.take(); events(got) != "stopped" || len(got[0].Offers) != 0 {
			t.Errorf("removal: %+v", got)
		}
		time.Sleep(time.Hour)
		if got := tracker.take(); len(got) != 0 {
			t.Errorf("announced after removal: %+v", got)
		}
		closeManager(t, m)
	})
}

func TestOffersAndAnswersAreRelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := &fakeTracker{t: t}
		m := tracker.manager()
		defer closeManager(t, m)
		torrent, other := newTorrent("torrent"), newTorrent("other")
		add(t, m, fakeURL, torrent)
		add(t, m, " WS://TRACKER.example/announce\r\n", other)
		synctest.Wait()
		if len(tracker.dials) != 1 {
			t.Fatalf("%d connections for one URL", len(tracker.dials))
		}
		tracker.take()
		peer, offer := idOf("\xff\x00peer"), idOf("\x80offer")
		offered := map[string]any{"action": "announce", "info_hash": torrent.hash, "peer_id": peer,
			"offer_id": offer, "offer": description{"offer", "sdp"}}
		tracker.push(offered)
		got := tracker.take()
		if events(got) != "answer" || got[0].Answer.SDP != "answer to sdp" || *got[0].To != peer || got[0].InfoHash != torrent.hash {
			t.Errorf("answer: %+v", got)
		}
		tracker.push(map[string]any{"action": "announce", "info_hash": torrent.hash, "peer_id": peer,
			"offer_id": offer, "answer": description{"answer", "their answer"}})
		synctest.Wait()
		if len(torrent.answers) != 1 || torrent.answers[0] != "their answer" || len(other.answers) != 0 {
			t.Errorf("answers %q and %q", torrent.answers, other.answers)
		}
		// Ignored: what comes from ourselves, and what is for a torrent we lack.
		offered["peer_id"] = testPeerID
		tracker.push(offered)
		offered["peer_id"], offered["info_hash"] = peer, idOf("unknown")
		tracker.push(offered)
		if got := tracker.take(); len(got) != 0 {
			t.Errorf("answered what should be ignored: %+v", got)
		}
	})
}

func TestRemovalDuringAnOutageIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := &fakeTracker{t: t}
		m := tracker.manager()
		defer closeManager(t, m)
		stays := newTorrent("stays")
		add(t, m, fakeURL, stays)
		h := add(t, m, fakeURL, newTorrent("goes"))
		synctest.Wait()
		tracker.setDown(true)
		synctest.Wait()
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		tracker.take()
		tracker.setDown(false)
		time.Sleep(time.Minute)
		for _, r := range tracker.take() {
			if r.InfoHash != stays.hash {
				t.Errorf("a removed torrent was announced: %+v", r)
			}
		}
	})
}

func TestFailuresAndWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker, torrent := announced(t)

		tracker.push(map[string]any{"action": "announce", "info_hash": torrent.hash, "failure reason": "not registered"})
		synctest.Wait()
		if err := torrent.last().Err; err == nil || err.Error() != "the tracker refused: not registered" {
			t.Errorf("failure: %v", err)
		}
		ok := reply(torrent.hash, 60)
		ok["warning message"] = "moving soon"
		tracker.push(ok)
		time.Sleep(time.Second) // after which a status follows another
		synctest.Wait()
		if got := torrent.last(); got.Err != nil || got.Warning != "moving soon" {
			t.Errorf("warning: %+v", got)
		}
		// No action: the tracker could not parse something. The connection stays.
		tracker.push(map[string]any{"failure reason": "invalid info_hash"})
		for _, nonsense := range []string{"", "null", "[]", `{"action":7}`, "\xff", `{"action":"announce","info_hash":"short"}`} {
			tracker.pushRaw([]byte(nonsense))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := torrent.last(); got.Err != nil || got.Warning == "" {
			t.Errorf("error without action: %+v", got)
		}
		if len(tracker.dials) != 1 {
			t.Errorf("connected %d times", len(tracker.dials))
		}
	})
}

func TestScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := &fakeTracker{t: t}
		m := tracker.manager()
		defer closeManager(t, m)
		known, unknown := idOf("\xfeknown"), idOf("unknown")
		type result struct {
			swarms map[ID]Swarm
			err    error
		}
		results := make(chan result)
		go func() {
			swarms, err := m.Scrape(t.Context(), fakeURL, known, unknown)
			results <- result{swarms, err}
		}()
		synctest.Wait()
		tracker.push(map[string]any{"action": "scrape", "files": map[ID]any{
			known: map[string]int{"complete": 5, "incomplete": 6, "downloaded": 7}, idOf("other"): map[string]int{}}})
		r := <-results
		if r.err != nil || len(r.swarms) != 1 || r.swarms[known] != (Swarm{5, 6, 7}) {
			t.Errorf("got %+v, %v", r.swarms, r.err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Scrape(ctx, fakeURL, known); err == nil {
			t.Error("a scrape without answer succeeded")
		}
	})
}

func TestAddChecksTheURL(t *testing.T) {
	m := New(Config{})
	defer closeManager(t, m)
	for _, bad := range []string{"", "http://tracker.example", "ws://", "wss:tracker", "ws://\x00"} {
		if _, err := m.Add(bad, newTorrent("torrent")); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
