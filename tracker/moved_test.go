package tracker

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"
)

// fixedPort is a Config.Port that never changes.
func fixedPort(port uint16) func(bool) uint16 { return func(bool) uint16 { return port } }

// A change of port is told at once, changes on changes no more than one a minute, and the
// last of them is not lost.
func TestTrackersHearOfANewPortWithoutAStorm(t *testing.T) {
	port := uint16(1)
	cfg := Config{Tiers: tiers("a", "down"), Port: func(bool) uint16 { return port }}
	announcing(t, map[string]string{"a": ok30min}, cfg, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		heard := func(when, want string) {
			t.Helper()
			if got := f.query(0).Get("port"); got != want {
				t.Errorf("%s: port %s was told", when, got)
			}
			if n := len(f.take()); n != 1 {
				t.Errorf("%s: %d announces", when, n)
			}
		}
		f.expect(t, "at first", "a started", "down started")
		port = 2
		a.Moved()
		heard("after a change", "2")
		for range 30 {
			port++
			a.Moved()
			time.Sleep(100 * time.Millisecond)
		}
		f.expect(t, "in the storm")
		time.Sleep(movedInterval - 4*time.Second)
		f.take() // of the one that is down
		time.Sleep(2 * time.Second)
		heard("a minute later", "32")
	})
}

// Each address family is told its own port, and a tracker that has one family only is told
// our address of the other. What it says of us is handed on.
func TestEachFamilyHasItsPort(t *testing.T) {
	queries := make(chan url.Values, 4)
	serve := func(at string) (addr string) {
		ln, err := net.Listen("tcp", at)
		if err != nil {
			t.Skip("cannot listen at", at, err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			queries <- r.URL.Query()
			_, _ = w.Write([]byte("d11:external ip4:\xcb\x00\x71\x078:intervali1800e5:peers0:e"))
		})}
		go func() { _ = server.Serve(ln) }()
		t.Cleanup(func() { server.Close() })
		return ln.Addr().String()
	}
	v4, v6 := serve("127.0.0.1:0"), serve("[::1]:0")
	network := &fakeNetwork{names: bothFamilies, place: map[string]string{
		"tcp4 both.example:80": v4, "tcp6 both.example:80": v6,
	}}
	cfg := Config{
		Tiers: [][]string{{"http://both.example/announce"}}, Network: network, Stats: func() Stats { return Stats{} },
		Port: func(v4 bool) uint16 { return map[bool]uint16{true: 4, false: 6}[v4] },
		Addr: func(v4 bool) netip.Addr {
			return map[bool]netip.Addr{true: netip.MustParseAddr("203.0.113.7"), false: netip.MustParseAddr("2001:db8::7")}[v4]
		},
	}
	seen := make(chan netip.Addr, 4)
	cfg.OnSeen = func(_, addr netip.Addr) { seen <- addr }
	a := New(cfg)
	ports := await(t, queries).Get("port") + await(t, queries).Get("port")
	if ports != "46" && ports != "64" {
		t.Errorf("the ports told are %s", ports)
	}
	if got := await(t, seen); got != netip.MustParseAddr("203.0.113.7") {
		t.Errorf("seen at %v", got)
	}
	a.Close(t.Context())
	for range 2 { // "stopped"
		if q := await(t, queries); q.Has("ipv4") || q.Has("ipv6") {
			t.Errorf("a tracker that sees both addresses is told %v", q)
		}
	}
	network.names = map[string][]string{"both.example": {"127.0.0.1"}}
	a = New(cfg)
	defer a.Close(t.Context())
	if q := await(t, queries); q.Get("ipv6") != "2001:db8::7" || q.Has("ipv4") || q.Get("port") != "4" {
		t.Errorf("a tracker without IPv6 is told %v", q)
	}
}
