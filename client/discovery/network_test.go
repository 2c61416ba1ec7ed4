package discovery

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// strictNetwork resolves what a test says, and holds an address policy.
type strictNetwork struct {
	plainNetwork
	names map[string]netip.Addr
	may   func(speaker, named netip.Addr) bool
}

func (n strictNetwork) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if ip, ok := n.names[host]; ok {
		return []netip.Addr{ip}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (n strictNetwork) MayName(speaker, named netip.Addr) bool { return n.may(speaker, named) }

func TestNodesOfATorrent(t *testing.T) {
	_, addr := newNode(t, DHTConfig{})
	_, port, _ := net.SplitHostPort(addr.String())
	loop := netip.MustParseAddr("127.0.0.1")
	network := strictNetwork{
		names: map[string]netip.Addr{"node.example": loop},
		may:   func(speaker, named netip.Addr) bool { return speaker.IsLoopback() || !named.IsLoopback() },
	}
	d, _ := newNode(t, DHTConfig{Network: network})
	nodes := []string{"nowhere.example:1", "not a node", "node.example:0", "node.example:" + port, addr.String()}
	d.AddNodes(netip.Addr{}, nodes)
	d.AddNodes(loop, []string{"node.example:" + port})
	eventually(t, "the node is reached by the word of one who may name it", func() bool { return d.NumNodes() == 1 })

	stranger, _ := newNode(t, DHTConfig{Network: network})
	stranger.AddNodes(netip.Addr{}, nodes)
	eventually(t, "the nodes are looked at", func() bool { return len(stranger.named) == 0 })
	if n := len(stranger.halves[0].pings); n != 0 {
		t.Errorf("a stranger had %d addresses tried on loopback", n)
	}
}

// TestADHTIsNotSteeredInside has a node name others, which it may not; nobody may be asked.
func TestADHTIsNotSteeredInside(t *testing.T) {
	victim, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	liar, addr := newNode(t, DHTConfig{})
	victimAddr := victim.LocalAddr().(*net.UDPAddr).AddrPort()
	hash := [20]byte{9}
	liar.peers.add(hash, victimAddr)
	liar.peers.add(hash, netip.MustParseAddrPort("192.0.2.1:7"))

	lied := make(chan struct{})
	var once sync.Once
	network := strictNetwork{may: func(speaker, named netip.Addr) bool {
		if named.IsLoopback() && speaker.IsLoopback() {
			once.Do(func() { close(lied) })
		}
		return !named.IsLoopback() // as if the speaker were outside
	}}
	d, _ := newNode(t, DHTConfig{Network: network, Bootstrap: []string{addr.String()}})
	found := announce(t, d, hash, 1001)
	select {
	case p := <-found:
		if p.Addr().IsLoopback() {
			t.Errorf("found %v", p)
		}
	case <-time.After(3 * time.Second):
		t.Error("the address that may be named is not found")
	}
	<-lied
}

// TestAPanicOverWhatIsFound must not end the program.
func TestAPanicOverWhatIsFound(t *testing.T) {
	var mu sync.Mutex
	var logged bytes.Buffer
	logger := slog.New(slog.NewTextHandler(lockedWriter{&mu, &logged}, nil))
	_, addr := newNode(t, DHTConfig{})
	seed, _ := newNode(t, DHTConfig{Bootstrap: []string{addr.String()}})
	d, _ := newNode(t, DHTConfig{Bootstrap: []string{addr.String()}, Logger: logger})
	hash := [20]byte{10}
	announce(t, seed, hash, 1001)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		d.Announce(ctx, hash, at(1002), NewNeed(Fresh), func([]netip.AddrPort) { panic("a bug") })
	}()
	eventually(t, "the panic is logged with its stack", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(logged.String(), "a bug") && strings.Contains(logged.String(), "network_test.go")
	})
	waitFor(t, announce(t, d, hash, 1003), "127.0.0.1:1001") // and it goes on

	l := LSD{log: logger, guard: guard{logger}, wanted: map[[20]byte]map[*watcher]struct{}{}}
	defer l.watch(hash, func([]netip.AddrPort) { panic("another bug") })()
	l.guard.run("reading", func() {
		l.handle(lsdAnnounce{host: "x", port: 1, cookie: "c", infoHashes: [][20]byte{hash}}.encode(), netip.MustParseAddr("10.0.0.1"))
	})
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(logged.String(), "another bug") {
		t.Error("a panic over a local announce is not logged")
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func TestLocalAnnouncesComeFromWhereWeListen(t *testing.T) {
	for _, c := range []struct {
		listen string
		ip     string
		want   bool
	}{
		{"", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.2", false},
		{"10.0.0.1", "fe80::1", false},
		{"0.0.0.0", "10.0.0.2", true},
		{"0.0.0.0", "fe80::1", false},
		{"::", "fe80::1", true},
		{"::", "10.0.0.2", true},
		{"fe80::1%eth0", "fe80::1", true},
		{"10.0.0.1,2001:db8::1", "2001:db8::1", true},
	} {
		var listen []netip.Addr
		for _, l := range strings.Split(c.listen, ",") {
			if l != "" {
				listen = append(listen, netip.MustParseAddr(l))
			}
		}
		if got := listensAt(listen, netip.MustParseAddr(c.ip)); got != c.want {
			t.Errorf("listening at %q, %s: %v", c.listen, c.ip, got)
		}
	}
	interfaces := loopback(t)
	_, err := NewLSD(LSDConfig{Interfaces: interfaces, Listen: []netip.Addr{netip.MustParseAddr("192.0.2.77")}})
	if err == nil {
		t.Error("joined a group at an address that is not this machine's")
	}
}
