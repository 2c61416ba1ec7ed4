package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

var start = time.Unix(1_700_000_000, 0)

func hashOf(n int) (h Hash) {
	binary.BigEndian.PutUint64(h[:], uint64(n))
	h[19] = byte(n)
	return h
}

func idOf(n int) (id ID) {
	copy(id[:], "-CW0001-")
	binary.BigEndian.PutUint64(id[12:], uint64(n))
	return id
}

func addr4(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 6881)
}

func addr6(n int) netip.AddrPort {
	a := [16]byte{0x20, 1, 0xd, 0xb8, byte(n >> 16), byte(n >> 8), byte(n), 15: 1}
	return netip.AddrPortFrom(netip.AddrFrom16(a), 6881)
}

// announce announces and returns the reply; it must not be refused.
func announce(t *testing.T, tab *Table, a Announce) Reply {
	t.Helper()
	var r Reply
	if err := tab.Announce(&a, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func counts(t *testing.T, tab *Table, h Hash) Counts {
	t.Helper()
	c, err := tab.Scrape(h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPeersOfAllKindsCountOnceEach(t *testing.T) {
	tab := New(Config{Now: start})
	h := hashOf(1)
	announce(t, tab, Announce{Hash: h, ID: idOf(1), Addr: addr4(1), State: Seed})
	announce(t, tab, Announce{Hash: h, ID: idOf(2), Addr: addr6(2)})
	web(t, tab, WebAnnounce{Hash: h, ID: idOf(3), Socket: 3, Host: addr4(3).Addr()})
	web(t, tab, WebAnnounce{Hash: h, ID: idOf(4), Socket: 4, Host: addr4(4).Addr(), State: Seed})
	announce(t, tab, Announce{Hash: h, ID: idOf(5), Addr: addr4(5), State: Partial})
	want := Counts{Complete: 2, Incomplete: 3, Downloaders: 2}
	if got := counts(t, tab, h); got != want {
		t.Fatalf("counts %+v, want %+v", got, want)
	}
	// The same clients come in other ways, too.
	announce(t, tab, Announce{Hash: h, ID: idOf(1), Addr: addr6(1), State: Seed})
	web(t, tab, WebAnnounce{Hash: h, ID: idOf(2), Socket: 2, Host: addr4(2).Addr()})
	announce(t, tab, Announce{Hash: h, ID: idOf(4), Addr: addr4(4), State: Seed})
	if got := counts(t, tab, h); got != want {
		t.Fatalf("counts with clients that came twice %+v, want %+v", got, want)
	}
	// One leaves in the way that counted, and is still there in the other.
	announce(t, tab, Announce{Hash: h, ID: idOf(1), Addr: addr4(1), Event: Stopped})
	tab.LeaveWeb(h, idOf(4), 4)
	if got := counts(t, tab, h); got != want {
		t.Fatalf("counts after one of two entries left %+v, want %+v", got, want)
	}
	announce(t, tab, Announce{Hash: h, ID: idOf(1), Addr: addr6(1), Event: Stopped})
	announce(t, tab, Announce{Hash: h, ID: idOf(4), Addr: addr4(4), Event: Stopped})
	announce(t, tab, Announce{Hash: h, ID: idOf(5), Addr: addr4(5), Event: Stopped})
	want = Counts{Incomplete: 2, Downloaders: 2}
	if got := counts(t, tab, h); got != want {
		t.Fatalf("counts after all three left %+v, want %+v", got, want)
	}
}

func TestDownloadedCountsThoseWhoBecomeSeeds(t *testing.T) {
	tab := New(Config{Now: start})
	h := hashOf(1)
	announce(t, tab, Announce{Hash: h, ID: idOf(1), Addr: addr4(1)})
	for range 3 { // said again, as after a lost reply
		announce(t, tab, Announce{Hash: h, ID: idOf(1), Addr: addr4(1), State: Seed, Event: Completed})
	}
	// webtorrent.js says "completed" of what it has had from the start.
	web(t, tab, WebAnnounce{Hash: h, ID: idOf(2), Socket: 2, Host: addr4(2).Addr(), State: Seed, Event: Completed})
	web(t, tab, WebAnnounce{Hash: h, ID: idOf(3), Socket: 3, Host: addr4(3).Addr()})
	web(t, tab, WebAnnounce{Hash: h, ID: idOf(3), Socket: 3, Host: addr4(3).Addr(), State: Seed, Event: Completed})
	if got := counts(t, tab, h); got.Downloaded != 2 || got.Complete != 3 {
		t.Fatalf("%+v, want 2 downloaded and 3 complete", got)
	}
}

func TestNamedPeersAreOthersAndOfUse(t *testing.T) {
	tab := New(Config{Now: start})
	h := hashOf(1)
	const n = 300
	for i := range n {
		state := Leech
		if i%3 == 0 {
			state = Seed
		}
		announce(t, tab, Announce{Hash: h, ID: idOf(i), Addr: addr4(i), State: state})
		announce(t, tab, Announce{Hash: h, ID: idOf(i + n), Addr: addr6(i), State: state})
	}
	seen := make(map[string]bool)
	for i := range n {
		state := Leech
		if i%3 == 0 {
			state = Seed
		}
		r := announce(t, tab, Announce{Hash: h, ID: idOf(i), Addr: addr4(i), State: state, NumWant: 50})
		if len(r.Peers4) != 50*6 || len(r.Peers6) != 0 {
			t.Fatalf("peer %d got %d bytes of IPv4 peers, %d of IPv6 peers", i, len(r.Peers4), len(r.Peers6))
		}
		once := make(map[int]bool)
		for b := range 50 {
			p := r.Peers4[6*b:]
			k := int(p[1])<<16 | int(p[2])<<8 | int(p[3])
			switch {
			case k == i:
				t.Fatalf("peer %d was given itself", i)
			case once[k]:
				t.Fatalf("peer %d was given %d twice", i, k)
			case state == Seed && k%3 == 0:
				t.Fatalf("seed %d was given seed %d", i, k)
			}
			once[k] = true
			seen[string(p[:6])] = true
		}
	}
	if len(seen) != n {
		t.Errorf("only %d of %d peers were ever named", len(seen), n)
	}
	r := announce(t, tab, Announce{Hash: h, ID: idOf(7), Addr: addr6(7), NumWant: 10, Both: true})
	if len(r.Peers4) != 60 || len(r.Peers6) != 180 {
		t.Errorf("one who wants both kinds got %d and %d bytes", len(r.Peers4), len(r.Peers6))
	}
}

// TestListsHoldWhatWasPutIn compares a table with a plain map through random joins and
// leaves, in swarms of sizes below and above where indexes begin.
func TestListsHoldWhatWasPutIn(t *testing.T) {
	for _, addr := range []func(int) netip.AddrPort{addr4, addr6} {
		for _, most := range []int{3, 20, 500, 5000} {
			t.Run(fmt.Sprint(most), func(t *testing.T) {
				tab := New(Config{Now: start})
				h, in := hashOf(1), make(map[int]State)
				for range 6 * most {
					i := rand.IntN(most)
					if _, is := in[i]; is && rand.IntN(3) > 0 {
						announce(t, tab, Announce{Hash: h, ID: idOf(i), Addr: addr(i), Event: Stopped})
						delete(in, i)
						continue
					}
					in[i] = State(rand.IntN(3))
					announce(t, tab, Announce{Hash: h, ID: idOf(i), Addr: addr(i), State: in[i]})
				}
				var want Counts
				for _, s := range in {
					switch s {
					case Seed:
						want.Complete++
					case Leech:
						want.Downloaders++
					}
				}
				want.Incomplete = uint32(len(in)) - want.Complete
				if got := counts(t, tab, h); got != want {
					t.Fatalf("counts %+v, want %+v", got, want)
				}
				for i := range in { // all can be found
					announce(t, tab, Announce{Hash: h, ID: idOf(i), Addr: addr(i), Event: Stopped})
				}
				if got := tab.Size(); got != (Size{}) {
					t.Fatalf("%+v is left of a table that all have left", got)
				}
				for host := range in {
					if n := tab.hosts.count(hostKey(addr(host).Addr())); n != 0 {
						t.Fatalf("%d peers of a host are counted that has none", n)
					}
				}
			})
		}
	}
}

func TestPeersExpire(t *testing.T) {
	tab := New(Config{Now: start, Expire: time.Hour, ExpireWeb: 10 * time.Minute})
	h := hashOf(1)
	for i := range 200 {
		announce(t, tab, Announce{Hash: h, ID: idOf(i), Addr: addr4(i)})
		announce(t, tab, Announce{Hash: hashOf(2 + i), ID: idOf(i), Addr: addr6(i), State: Seed})
	}
	web(t, tab, WebAnnounce{Hash: h, ID: idOf(1000), Socket: 1, Host: addr4(1000).Addr()})
	now := start
	pass := func(d time.Duration) {
		for end := now.Add(d); now.Before(end); {
			now = now.Add(time.Second)
			tab.Tick(now)
		}
	}
	pass(9 * time.Minute)
	if got := tab.Size(); got != (Size{201, 200, 200, 1}) {
		t.Fatalf("after 9 min %+v", got)
	}
	pass(2 * time.Minute)
	if got := tab.Size(); got != (Size{201, 200, 200, 0}) {
		t.Fatalf("after 11 min %+v: the web peer should be gone", got)
	}
	pass(40 * time.Minute)
	announce(t, tab, Announce{Hash: h, ID: idOf(5), Addr: addr4(5)})
	pass(10 * time.Minute)
	if got := tab.Size(); got != (Size{1, 1, 0, 0}) {
		t.Fatalf("after 61 min %+v: only the one who came again should be there", got)
	}
	if got := counts(t, tab, h); got != (Counts{Incomplete: 1, Downloaders: 1}) {
		t.Fatalf("counts %+v", got)
	}
}

func TestBoundsAreToldInWords(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		more   func(i int) Announce // the sixth of which is one too many
		want   error
	}{
		{"swarms", Limits{Swarms: 5}, func(i int) Announce { return Announce{Hash: hashOf(i), Addr: addr4(i)} }, ErrSwarms},
		{"peers", Limits{Peers: 5}, func(i int) Announce { return Announce{Hash: hashOf(i % 3), Addr: addr4(i)} }, ErrPeers},
		{"peers of a swarm", Limits{SwarmSize: 5}, func(i int) Announce { return Announce{Addr: addr4(i)} }, ErrSwarmPeers},
		{"peers of a host", Limits{HostPeers: 5}, func(i int) Announce { return Announce{Hash: hashOf(i), Addr: addr4(0)} }, ErrHostPeers},
		{"peers of a host in a swarm", Limits{HostInSwarm: 5}, func(i int) Announce {
			return Announce{Addr: netip.AddrPortFrom(addr4(0).Addr(), uint16(1+i))}
		}, ErrHostInSwarm},
		{"peers of an IPv6 network", Limits{HostInSwarm: 5}, func(i int) Announce {
			return Announce{Addr: netip.AddrPortFrom(netip.AddrFrom16([16]byte{0: 0x20, 15: byte(i + 1)}), 1)}
		}, ErrHostInSwarm},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab := New(Config{Now: start, Limits: c.limits})
			for i := range 5 {
				a := c.more(i)
				a.ID = idOf(i)
				announce(t, tab, a)
			}
			var r Reply
			a := c.more(5)
			a.ID = idOf(5)
			if err := tab.Announce(&a, &r); !errors.Is(err, c.want) {
				t.Fatalf("the sixth got %v, want %v", err, c.want)
			}
			if tab.Size().Peers4+tab.Size().Peers6 != 5 {
				t.Fatalf("%+v after a refusal", tab.Size())
			}
			// Those who are there are served on, and one who leaves makes room.
			first := c.more(0)
			first.ID = idOf(0)
			announce(t, tab, first)
			first.Event = Stopped
			announce(t, tab, first)
			announce(t, tab, a)
		})
	}
}

func TestOneHostCannotFillALargeSwarm(t *testing.T) {
	tab := New(Config{Now: start})
	h := hashOf(1)
	for i := range 3000 {
		announce(t, tab, Announce{Hash: h, ID: idOf(i), Addr: addr4(i)})
	}
	taken := 0
	for port := range 1000 {
		a := Announce{Hash: h, ID: idOf(port + 10000), Addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(port+1))}
		if err := tab.Announce(&a, &Reply{}); err == nil {
			taken++
		}
	}
	if most := 100; taken > most || taken < most-20 {
		t.Errorf("%d peers of one host were taken; want about and at most %d", taken, most)
	}
}

func TestAnnouncesAllocateNothing(t *testing.T) {
	tab := New(Config{Now: start})
	h := hashOf(1)
	for i := range 200 {
		announce(t, tab, Announce{Hash: h, ID: idOf(i), Addr: addr4(i)})
	}
	a := Announce{Hash: h, ID: idOf(3), Addr: addr4(3), NumWant: 50}
	r := Reply{Peers4: make([]byte, 0, 300)}
	if n := testing.AllocsPerRun(100, func() {
		r.Peers4 = r.Peers4[:0]
		_ = tab.Announce(&a, &r)
	}); n != 0 {
		t.Errorf("%v allocations for an announce", n)
	}
}

func TestAddressesThatCannotBeReachedAreRefused(t *testing.T) {
	tab := New(Config{Now: start})
	for _, addr := range []string{"10.0.0.1:0", "0.0.0.0:5", "[::]:5"} {
		a := Announce{Hash: hashOf(1), ID: idOf(1), Addr: netip.MustParseAddrPort(addr)}
		if err := tab.Announce(&a, &Reply{}); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if tab.Size() != (Size{}) {
		t.Errorf("%+v", tab.Size())
	}
}
