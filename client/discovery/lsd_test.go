package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// wire is a local network in memory.
type wire struct{ members []*member }

type member struct {
	wire   *wire
	ip     net.IP
	in     chan heard
	closed chan struct{}
	sent   atomic.Int64
}

type heard struct {
	packet []byte
	from   net.Addr
}

func (w *wire) join(ip string) *member {
	m := &member{wire: w, ip: net.ParseIP(ip), in: make(chan heard, 100), closed: make(chan struct{})}
	w.members = append(w.members, m)
	return m
}

func (m *member) host() string { return lsdGroup4.String() }
func (m *member) send(b []byte) error {
	m.sent.Add(1)
	for _, other := range m.wire.members { // the sender, too, as with multicast loopback
		other.in <- heard{b, &net.UDPAddr{IP: m.ip, Port: 6771}}
	}
	return nil
}
func (m *member) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-m.in:
		return copy(b, p.packet), p.from, nil
	case <-m.closed:
		return 0, nil, net.ErrClosed
	}
}
func (m *member) Close() error { close(m.closed); return nil }

func lsdOn(t *testing.T, m *member) *LSD {
	l, err := NewLSD(LSDConfig{sockets: []lsdSocket{m}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLocalPeersFindEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &wire{}
		ma, mb := network.join("192.168.1.1"), network.join("192.168.1.2")
		a, b := lsdOn(t, ma), lsdOn(t, mb)
		defer a.Close()
		defer b.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		hash, other := [20]byte{1}, [20]byte{2}
		var mu sync.Mutex
		var foundA, foundB, foundOther []string
		collect := func(to *[]string) func([]netip.AddrPort) {
			return func(p []netip.AddrPort) {
				mu.Lock()
				defer mu.Unlock()
				*to = append(*to, fmt.Sprint(p))
			}
		}
		found := func() string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return fmt.Sprint(foundA, foundB, foundOther)
		}
		go a.Announce(ctx, hash, 1001, collect(&foundA))
		synctest.Wait()
		go b.Announce(ctx, hash, 1002, collect(&foundB))
		synctest.Wait()
		go b.Announce(ctx, other, 1002, collect(&foundOther))
		if got := found(); got != "[[192.168.1.2:1002]] [] []" {
			t.Errorf("at first found %s", got)
		}
		time.Sleep(5*time.Minute + time.Second)
		if got := found(); got != "[[192.168.1.2:1002] [192.168.1.2:1002]] [[192.168.1.1:1001]] []" {
			t.Errorf("five minutes later found %s", got)
		}
		if ma.sent.Load() != 2 || mb.sent.Load() != 4 {
			t.Errorf("%d and %d announces in five minutes", ma.sent.Load(), mb.sent.Load())
		}
	})
}

func TestManyTorrentsDoNotFloodTheNetwork(t *testing.T) {
	for _, c := range []struct{ torrents, announces int }{
		{lsdBurst, lsdBurst}, // one by one, for clients that read one infohash only
		{300, 300 / maxTogether},
	} {
		synctest.Test(t, func(t *testing.T) {
			network := &wire{}
			m, listener := network.join("192.168.1.1"), network.join("192.168.1.2")
			l, all := lsdOn(t, m), lsdOn(t, listener)
			defer l.Close()
			defer all.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			l.mu.Lock() // until all are due
			var heard atomic.Int64
			for i := range c.torrents {
				hash := [20]byte{byte(i), byte(i >> 8)}
				defer all.watch(hash, func([]netip.AddrPort) { heard.Add(1) })()
				go l.Announce(ctx, hash, 1, func([]netip.AddrPort) {})
			}
			l.mu.Unlock()
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := int(m.sent.Load()); got < c.announces || got > c.announces+2*lsdBurst {
				t.Errorf("%d torrents: %d announces, want %d", c.torrents, got, c.announces)
			}
			if got := int(heard.Load()); got != c.torrents {
				t.Errorf("%d torrents: %d heard of", c.torrents, got)
			}
		})
	}
}

func TestLSDForgetsWhatNobodyWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := (&wire{}).join("192.168.1.1")
		l := lsdOn(t, m)
		defer l.Close()
		l.limit.ReserveN(time.Now(), lsdBurst) // so that the announce has to wait
		ctx, cancel := context.WithCancel(t.Context())
		go l.Announce(ctx, [20]byte{1}, 1, func([]netip.AddrPort) {})
		synctest.Wait()
		cancel()
		time.Sleep(time.Minute)
		synctest.Wait()
		if m.sent.Load() != 0 {
			t.Error("a torrent was announced that is there no more")
		}
	})
}

func TestParseLSDAnnounce(t *testing.T) {
	hash := strings.Repeat("ab", 20)
	for _, c := range []struct {
		name, packet string
		infoHashes   int // 0: refused
	}{
		// As sent by libtorrent 2.0.8 and by aria2 1.36.
		{"libtorrent", "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: " + hash + "\r\ncookie: 4d2\r\n\r\n\r\n", 1},
		{"aria2", "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: " + hash + "\r\n\r\n\r\n", 1},
		{"two infohashes", "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: " + hash + "\r\nInfohash: " + hash + "\r\n\r\n\r\n", 2},
		{"upper case", "BT-SEARCH * HTTP/1.1\r\nPORT:1\r\nINFOHASH:" + strings.ToUpper(hash) + "\r\n\r\n", 1},
		{"no port", "BT-SEARCH * HTTP/1.1\r\nInfohash: " + hash + "\r\n\r\n\r\n", 0},
		{"port 0", "BT-SEARCH * HTTP/1.1\r\nPort: 0\r\nInfohash: " + hash + "\r\n\r\n\r\n", 0},
		{"port out of range", "BT-SEARCH * HTTP/1.1\r\nPort: 65536\r\nInfohash: " + hash + "\r\n\r\n\r\n", 0},
		{"no infohash", "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\n\r\n\r\n", 0},
		{"short infohash", "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: abcd\r\n\r\n\r\n", 0},
		{"long infohash", "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: " + hash + "ab\r\n\r\n\r\n", 0},
		{"another protocol", "M-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: " + hash + "\r\n\r\n\r\n", 0},
		{"too long", "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: " + hash + "\r\n" + strings.Repeat("x", maxLSDMessage), 0},
	} {
		a, err := parseLSDAnnounce([]byte(c.packet))
		if (err == nil) != (c.infoHashes > 0) || err == nil && len(a.infoHashes) != c.infoHashes {
			t.Errorf("%s: %+v, %v", c.name, a, err)
		}
	}
}

func FuzzParseLSDAnnounce(f *testing.F) {
	f.Add(lsdAnnounce{host: "239.192.152.143:6771", port: 6881, infoHashes: [][20]byte{{1}, {2}}, cookie: "c"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseLSDAnnounce(b)
		if err != nil {
			return
		}
		if a.port <= 0 || a.port > 65535 || len(a.infoHashes) == 0 || len(a.infoHashes) > maxLSDMessage/40 {
			t.Fatalf("%+v", a)
		}
	})
}

func loopback(t *testing.T) []net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, ifi := range all {
		if ifi.Flags&net.FlagLoopback != 0 {
			return []net.Interface{ifi}
		}
	}
	t.Skip("no loopback interface")
	return nil
}

// announcing is two on loopback, of which the second announces a torrent with port 1002, and
// what the first hears of it.
func announcing(t *testing.T, hash [20]byte) (l [2]*LSD, found <-chan []netip.AddrPort) {
	t.Helper()
	interfaces := loopback(t)
	for i := range l {
		var err error
		if l[i], err = NewLSD(LSDConfig{Interfaces: interfaces}); err != nil {
			t.Skip("no multicast on this host:", err)
		}
		t.Cleanup(func() { l[i].Close() })
	}
	heard, done := make(chan []netip.AddrPort, 10), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	unwatch := l[0].watch(hash, func(p []netip.AddrPort) { heard <- p })
	go func() { l[1].Announce(ctx, hash, 1002, func([]netip.AddrPort) {}); close(done) }()
	t.Cleanup(func() { unwatch(); cancel(); <-done })
	return l, heard
}

func TestMulticastOnLoopback(t *testing.T) {
	_, found := announcing(t, [20]byte{1, 2, 3})
	select {
	case p := <-found:
		if p[0].Port() != 1002 || !p[0].Addr().IsLoopback() {
			t.Errorf("found %v", p)
		}
	case <-time.After(3 * time.Second):
		t.Error("nothing heard")
	}
}

// On another network, the groups are joined anew and all torrents announced there at once.
func TestRejoinAnnouncesAgain(t *testing.T) {
	l, found := announcing(t, [20]byte{1, 2, 4})
	hear := func(when string) {
		t.Helper()
		select {
		case <-found:
		case <-time.After(10 * time.Second):
			t.Fatal("nothing heard ", when)
		}
	}
	hear("at first")
	for len(found) > 0 { // by both families
		<-found
	}
	l[0].Rejoin() // hears by its new sockets
	l[1].Rejoin()
	hear("after both have joined anew")
}

func TestNoInterfaceIsAnErrorThatSaysSo(t *testing.T) {
	_, err := NewLSD(LSDConfig{Interfaces: []net.Interface{}})
	if err == nil || errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "interface") {
		t.Error(err)
	}
}
