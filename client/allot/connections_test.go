package allot

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// member is a connection of a given worth.
type member struct {
	worth Worth
	gone  error
}

func (m *member) Worth() Worth    { return m.worth }
func (m *member) Evict(why error) { m.gone = why }

func addr(host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(host >> 8), byte(host)}) }

// fill admits n connections of a torrent, one from each of so many hosts in turn.
func fill(t *testing.T, c *Connections, torrent any, n, hosts, first int, w Worth, now time.Time) (ms []*member) {
	t.Helper()
	for i := range n {
		m := &member{worth: w}
		if _, err := c.Admit(torrent, n, m, addr(first+i%hosts), now); err != nil {
			t.Fatalf("connection %d of %d: %v", i, n, err)
		}
		ms = append(ms, m)
	}
	return ms
}

func gone(ms []*member) (n int) {
	for _, m := range ms {
		if m.gone != nil {
			n++
		}
	}
	return n
}

func TestWhoGivesWay(t *testing.T) {
	now := time.Unix(10000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	idle := Worth{Joined: ago(time.Second)}
	for _, test := range []struct {
		name     string
		n, hosts int
		worth    Worth
		admitted bool
	}{
		{"many of one host", 100, 1, idle, true},
		{"many of one host that hope", 100, 1, Worth{Joined: ago(time.Second), Hoping: true}, true},
		{"two of each host", 100, 50, idle, true},
		{"one of each host, just come", 100, 100, idle, false},
		{"one of each host, of no use", 100, 100, Worth{Joined: ago(6 * time.Second)}, true},
		{"one of each host, hoping", 100, 100, Worth{Joined: ago(6 * time.Second), Hoping: true}, true},
		{"one of each host, that move data", 100, 100, Worth{Joined: ago(time.Hour), Moved: ago(time.Second)}, false},
		{"two of each host, that move data", 100, 50, Worth{Joined: ago(time.Hour), Moved: ago(time.Second)}, false},
		{"many of one host, that move data", 100, 1, Worth{Joined: ago(time.Hour), Moved: ago(time.Second)}, true},
		{"one of each host, that moved data once", 100, 100, Worth{Joined: ago(time.Hour), Moved: ago(50 * time.Minute)}, true},
	} {
		c := NewConnections(500)
		ms := fill(t, c, 1, test.n, test.hosts, 1, test.worth, now)
		_, err := c.Admit(1, test.n, &member{worth: Worth{Joined: now}}, addr(999), now)
		if (err == nil) != test.admitted || err != nil && !errors.Is(err, ErrFull) {
			t.Errorf("%s: %v", test.name, err)
		}
		if n := gone(ms); n > 1 || (n == 1) != test.admitted || c.Len() != test.n {
			t.Errorf("%s: %d had to go, %d are there", test.name, n, c.Len())
		}
	}
}

func TestWhoMovesDataStays(t *testing.T) {
	now := time.Unix(10000, 0)
	c := NewConnections(500)
	moving := fill(t, c, 1, 50, 50, 1, Worth{Joined: now, Moved: now, Rate: 1}, now)
	for i := range 50 { // of one host
		if _, err := c.Admit(1, 100, &member{worth: Worth{Joined: now}}, addr(500), now); err != nil {
			t.Fatal(i, err)
		}
	}
	for i := range 200 {
		_, _ = c.Admit(1, 100, &member{worth: Worth{Joined: now}}, addr(1000+i), now)
	}
	if gone(moving) > 0 {
		t.Errorf("%d that move data had to go for 200 that come", gone(moving))
	}
}

// A torrent that has all places of the client gives up to half of them for another,
// even if data moves over all.
func TestTorrentsShareConnections(t *testing.T) {
	now := time.Unix(10000, 0)
	for _, w := range []Worth{{Joined: now}, {Joined: now, Hoping: true}, {Joined: now, Moved: now, Rate: 5}} {
		c := NewConnections(100)
		first := fill(t, c, 1, 100, 100, 1, w, now)
		got := 0
		for i := range 100 {
			if _, err := c.Admit(2, 100, &member{worth: Worth{Joined: now, Moved: now}}, addr(1000+i), now); err == nil {
				got++
			}
		}
		if got < 50 || gone(first) < 50 || c.Len() != 100 {
			t.Errorf("%+v: the second torrent got %d places, the first lost %d", w, got, gone(first))
		}
		if gone(first) > 51 && !w.Moved.IsZero() {
			t.Errorf("%+v: the first torrent lost %d places", w, gone(first))
		}
	}
}

// Who was of no use before, and comes again, gives way to who was not, and takes nobody's
// place.
func TestReturningHostsComeLast(t *testing.T) {
	now := time.Unix(10000, 0)
	c := NewConnections(500)
	for i := range 100 {
		for range uncleanAt { // they come, and hang up
			p, err := c.Admit(1, 100, &member{worth: Worth{Joined: now}}, addr(1+i), now)
			if err != nil {
				t.Fatal(err)
			}
			c.mu.Lock()
			c.record.useless(p.host, 1, now)
			c.remove(p)
			c.mu.Unlock()
		}
	}
	held := fill(t, c, 1, 100, 100, 1, Worth{Joined: now.Add(-2 * time.Second), Hoping: true}, now)
	honest := &member{worth: Worth{Joined: now}}
	if _, err := c.Admit(1, 100, honest, addr(999), now); err != nil || gone(held) != 1 {
		t.Errorf("a new host: %v, %d had to go", err, gone(held))
	}
	for i := range 100 {
		_, _ = c.Admit(1, 100, &member{worth: Worth{Joined: now}}, addr(1+i), now)
	}
	if honest.gone != nil {
		t.Error("the new host had to go for one that was of no use before")
	}
	if c.record.clean(HostOf(addr(1)), now) || !c.record.clean(HostOf(addr(1)), now.Add(recordFor+1)) {
		t.Error("the record is kept for another time than it should")
	}
}

func TestHostsAreV6Networks(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:1")
	if HostOf(a) != HostOf(b) || HostOf(a) == HostOf(netip.MustParseAddr("2001:db8:0:1::1")) {
		t.Error("a /64 is not one host")
	}
	if HostOf(netip.MustParseAddr("::ffff:10.0.0.1")) != HostOf(addr(1)) || HostOf(netip.MustParseAddr("fe80::1%eth0")) != HostOf(netip.MustParseAddr("fe80::2")) {
		t.Error("IPv4 in IPv6, or a zone, makes another host")
	}
}

func TestGate(t *testing.T) {
	now := time.Unix(10000, 0)
	g := NewGate(50)
	closed := 0
	for i := range 200 { // four hosts
		g.Enter(addr(1+i%4), now, func() { closed++ })
	}
	if len(g.inside) != 50 || closed > 150 {
		t.Errorf("%d are inside, %d were closed", len(g.inside), closed)
	}
	v := g.Enter(addr(99), now, func() { t.Error("the newcomer of a host of its own was closed") })
	if v == nil {
		t.Fatal("four hosts keep another out")
	}
	for i := range 100 {
		g.Enter(addr(1+i%4), now, func() {})
	}
	v.Leave(true, now)
	v.Leave(true, now)
	in := 0
	for range 10 * visitBurst { // one host, again and again
		if v := g.Enter(addr(7), now, func() {}); v != nil {
			in++
			v.Leave(true, now)
		}
	}
	if in != visitBurst {
		t.Errorf("one host was let in %d times at once, want %d", in, visitBurst)
	}
	if g.Enter(addr(7), now.Add(time.Second), func() {}) == nil {
		t.Error("it is not let in again a second later")
	}
	for i := range 3 * maxVisits {
		if v := g.Enter(addr(i), now, func() {}); v != nil {
			v.Leave(true, now)
		}
	}
	if len(g.lately) > maxVisits {
		t.Errorf("%d hosts are remembered", len(g.lately))
	}
}

// Hosts that come again and again and finish no handshake, each no more than once at a time, do not keep another out.
func TestGateKnowsWhoCameToNothing(t *testing.T) {
	now := time.Unix(10000, 0)
	g := NewGate(50)
	inside := make(map[int]bool)
	crowd := func(rounds int) {
		for range rounds {
			for host := range 250 {
				if !inside[host] {
					inside[host] = g.Enter(addr(host), now, func() { inside[host] = false }) != nil
				}
			}
			now = now.Add(100 * time.Millisecond)
		}
	}
	crowd(105) // those inside are within handshakeGrace
	honest := g.Enter(addr(999), now, func() { t.Error("an honest host was shut out") })
	if honest == nil {
		t.Fatal("an honest host is kept out")
	}
	crowd(15) // less than handshakeGrace
	honest.Leave(true, now)
	for range 100 {
		if v := g.Enter(addr(999), now, func() {}); v == nil {
			t.Fatal("an honest host is kept out later")
		} else {
			v.Leave(true, now)
		}
	}
	// One that was slow once is as good as others a little later.
	g.Enter(addr(998), now, func() {}).Leave(false, now)
	if g.weight(HostOf(addr(998)), now) != 1 || g.weight(HostOf(addr(998)), now.Add(vainTime)) != 0 {
		t.Error("what came to nothing does not count, or too long")
	}
}

func TestRecordIsBounded(t *testing.T) {
	r, now := newRecord(), time.Unix(10000, 0)
	for i := range 3 * maxRecord {
		r.useless(HostOf(addr(i)), 1, now.Add(time.Duration(i)))
	}
	if len(r.hosts) > maxRecord {
		t.Error(fmt.Sprint(len(r.hosts), " hosts are remembered"))
	}
}
