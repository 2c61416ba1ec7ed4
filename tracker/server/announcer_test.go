package server

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/tracker"
)

// TestOurAnnouncersMeet has clients of package tracker find each other over HTTP and UDP, and
// say that they are complete and that they leave.
func TestOurAnnouncersMeet(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		s := startAt(t, Config{}, listen)
		urls := map[string]string{
			"http": "http://" + s.tcp + "/announce", "udp": "udp://" + s.udp + "/announce",
		}
		for name, url := range urls {
			t.Run(name+" "+listen, func(t *testing.T) {
				h := hash(byte(len(url)))
				meet(t, s, url, h)
			})
		}
	}
}

func meet(t *testing.T, s *running, url string, h [20]byte) {
	peers := make(chan netip.AddrPort, 100)
	announcer := func(n byte, left int64) *tracker.Announcer {
		return tracker.New(tracker.Config{
			Tiers: [][]string{{url}}, InfoHash: h, PeerID: id(n), Port: func(bool) uint16 { return 1000 + uint16(n) },
			Stats: func() tracker.Stats { return tracker.Stats{Left: left} },
			OnPeers: func(_ string, _ netip.Addr, got []netip.AddrPort) {
				if n == 2 {
					for _, p := range got {
						peers <- p
					}
				}
			},
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	in := func(seeds, leeches int) func() bool {
		return func() bool {
			got, err := tracker.Scraper{}.Scrape(ctx, url, h)
			return err == nil && got[h].Seeds == seeds && got[h].Leeches == leeches
		}
	}
	one := announcer(1, 0)
	defer one.Close(ctx)
	eventually(t, "a seed", in(1, 0))
	two := announcer(2, 5)
	defer two.Close(ctx)
	var got []netip.AddrPort
	want := netip.AddrPortFrom(netip.MustParseAddrPort(s.tcp).Addr(), 1001)
	for !slices.Contains(got, want) {
		select {
		case p := <-peers:
			got = append(got, p)
		case <-ctx.Done():
			t.Fatalf("the second peer was told of %v, not of %v", got, want)
		}
	}
	eventually(t, "a seed and a leech", in(1, 1))
	two.Close(ctx)
	eventually(t, "the seed alone", in(1, 0))
	one.Close(ctx)
	eventually(t, "nobody", in(0, 0))
}
