package ws

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// floodTime is how long a test's tracker floods.
const floodTime = 10 // seconds

// flood sends messages as fast as they are read, and lets floodTime pass.
func (f *fakeTracker) flood(n int, message func(i int) any) {
	go func() { // ends with the connection at the latest
		for i := range n {
			f.push(message(i))
		}
	}()
	time.Sleep(floodTime * time.Second)
	synctest.Wait()
}

func TestMessageFloodIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker, torrent := announced(t)
		tracker.flood(50_000, func(int) any {
			return map[string]any{"action": "announce", "info_hash": torrent.hash, "peer_id": idOf("flood"),
				"offer_id": idOf("x"), "answer": description{"answer", "sdp"}}
		})
		const limit = 1000 + 500*floodTime
		if got := len(torrent.answers); got > limit || got < 1000 {
			t.Errorf("%d of 50,000 messages handled in %d s, want at most %d", got, floodTime, limit)
		}
	})
}

func TestStatusFloodIsBounded(t *testing.T) {
	tests := []struct {
		name        string
		seeds       func(i int) int
		least, most int
	}{
		{"the same", func(int) int { return 3 }, 1, 1},
		{"another in each reply", func(i int) int { return i }, floodTime / 2, floodTime + 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tracker := &fakeTracker{t: t}
				m := tracker.manager()
				defer closeManager(t, m)
				torrent := newTorrent("torrent")
				add(t, m, fakeURL, torrent)
				tracker.take()
				const replies = 4000
				tracker.flood(replies, func(i int) any {
					r := reply(torrent.hash, 1800)
					r["complete"] = test.seeds(i)
					return r
				})
				if n := len(torrent.statuses); n < test.least || n > test.most {
					t.Errorf("%d statuses in %d s, want %d to %d", n, floodTime, test.least, test.most)
				}
				if got, want := torrent.last().Seeds, test.seeds(replies-1); got != want {
					t.Errorf("%d seeds at last, want %d", got, want)
				}
			})
		})
	}
}

func TestOfferFloodIsBounded(t *testing.T) {
	for _, test := range []struct{ torrents, burst, rate int }{
		{1, 30, 5},
		{40, 100, 50}, // all together
	} {
		t.Run(fmt.Sprintf("%d torrents", test.torrents), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tracker := &fakeTracker{t: t}
				m := tracker.manager()
				defer closeManager(t, m)
				torrents := make([]*fakeTorrent, test.torrents)
				for i := range torrents {
					torrents[i] = newTorrent(fmt.Sprint("torrent ", i))
					add(t, m, fakeURL, torrents[i])
				}
				tracker.take()
				tracker.flood(6000, func(i int) any {
					return map[string]any{"action": "announce", "info_hash": torrents[i%len(torrents)].hash,
						"peer_id": idOf("flood"), "offer_id": idOf("x"), "offer": description{"offer", "sdp"}}
				})
				got, limit := 0, test.burst+test.rate*floodTime
				for _, torrent := range torrents {
					got += torrent.offersTaken()
				}
				if got > limit || got < test.burst {
					t.Errorf("%d of 6,000 offers answered in %d s, want %d to %d", got, floodTime, test.burst, limit)
				}
			})
		})
	}
}
