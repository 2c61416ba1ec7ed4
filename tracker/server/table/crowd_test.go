package table

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestManyAtOnce has goroutines join and leave the same swarms in all ways while time
// passes, for the race detector, and looks at the sums at the end.
func TestManyAtOnce(t *testing.T) {
	tab := New(Config{Now: start, Limits: Limits{HostInSwarm: -1}})
	var wg sync.WaitGroup
	var stop atomic.Bool
	wg.Go(func() {
		for now := start; !stop.Load(); now = now.Add(time.Second) {
			tab.Tick(now)
			if now.Sub(start) > 20*time.Minute { // nobody expires by mistake, web peers apart
				return
			}
		}
	})
	var workers sync.WaitGroup
	const each = 900
	for g := range 8 {
		workers.Go(func() {
			for i := range each {
				n := g*each + i
				h := hashOf(rand.IntN(40))
				_ = tab.Announce(&Announce{Hash: h, ID: idOf(n), Addr: addr4(n), NumWant: 30, Both: true}, &Reply{})
				_ = tab.Announce(&Announce{Hash: h, ID: idOf(n), Addr: addr6(n), State: Seed, NumWant: 30}, &Reply{})
				w := WebAnnounce{Hash: h, ID: idOf(n), Socket: Handle(n + 1), Host: addr4(n).Addr(), Offers: offersOf(3, n)}
				var r WebReply
				_ = tab.AnnounceWeb(&w, &r)
				for _, g := range r.Given {
					_, _ = tab.Answer(&Answer{h, g.ID, g.To, w.ID, w.Offers[g.Offer]})
				}
				if i%3 == 0 {
					_, _ = tab.Scrape(h)
					continue
				}
				_ = tab.Announce(&Announce{Hash: h, ID: idOf(n), Addr: addr4(n), Event: Stopped}, &Reply{})
				_ = tab.Announce(&Announce{Hash: h, ID: idOf(n), Addr: addr6(n), Event: Stopped}, &Reply{})
				tab.LeaveWeb(h, idOf(n), Handle(n+1))
			}
		})
	}
	workers.Wait()
	stop.Store(true)
	wg.Wait()
	size := tab.Size()
	if want := int64(8 * each / 3); size.Peers4 != want || size.Peers6 != want {
		t.Errorf("%+v, want %d of each kind", size, want)
	}
	var all uint32
	for i := range 40 {
		c := counts(t, tab, hashOf(i))
		all += c.Complete + c.Incomplete
	}
	if all != uint32(8*each/3) {
		t.Errorf("%d clients are counted, want %d", all, 8*each/3)
	}
}
