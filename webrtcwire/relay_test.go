package webrtcwire

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// turnServer is pion's, and notes who asks it.
type turnServer struct {
	*turn.Server
	turn.RelayAddressGeneratorStatic
	addr string

	mu      sync.Mutex
	made    int             // allocations so far
	askedBy map[string]bool // addresses
}

// startTURN runs one at an address of loopback; ":0" is any port.
func startTURN(t *testing.T, addr string) *turnServer {
	t.Helper()
	udp, err := net.ListenPacket("udp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &turnServer{
		addr: udp.LocalAddr().String(), askedBy: map[string]bool{},
		RelayAddressGeneratorStatic: turn.RelayAddressGeneratorStatic{RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"},
	}
	s.Server, err = turn.NewServer(turn.ServerConfig{
		Realm: "causeway.test", AuthHandler: s.authorize,
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: udp, RelayAddressGenerator: s}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // again, where the test has done so
	return s
}

func (s *turnServer) url() string { return "turn:u:p@" + s.addr }

func (s *turnServer) authorize(request *turn.RequestAttributes) (string, []byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.askedBy[request.SrcAddr.String()] = true
	return request.Username, turn.GenerateAuthKey(request.Username, request.Realm, "p"), true
}

func (s *turnServer) AllocatePacketConn(ask turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	s.mu.Lock()
	s.made++
	s.mu.Unlock()
	return s.RelayAddressGeneratorStatic.AllocatePacketConn(ask)
}

func (s *turnServer) counts() (made int, askedBy map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made, maps.Clone(s.askedBy)
}

// relayedTransport uses nothing but a server's relay.
func relayedTransport(t *testing.T, server *turnServer) *Transport {
	t.Helper()
	return loopbackTransport(t, func(c *Config) { c.ICEServers, c.RelayOnly = []string{server.url()}, true })
}

// TestAllAgentsShareOneAllocation has many connections by a relay at once, and offers beside them.
func TestAllAgentsShareOneAllocation(t *testing.T) {
	const conns, offers = 8, 20
	server := startTURN(t, "127.0.0.1:0")
	transport := relayedTransport(t, server)
	var peers [conns]*Transport
	for i := range peers {
		peers[i] = loopbackTransport(t, nil)
	}
	files := openFiles(t)
	var wg sync.WaitGroup
	for range offers {
		wg.Go(func() {
			if _, err := transport.Offer(testContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range conns {
		wg.Go(func() {
			order := [2]*Transport{transport, peers[i]}
			if i%2 == 1 {
				order = [2]*Transport{peers[i], transport}
			}
			a, b := connect(t, order[0], order[1])
			transfer(t, a, b, randomBytes(uint64(i), 1<<20))
			transfer(t, b, a, randomBytes(uint64(i), 1<<20))
		})
	}
	wg.Wait()
	made, askedBy := server.counts()
	if made != 1 || server.AllocationCount() != 1 {
		t.Errorf("%d allocations were made, want 1", made)
	}
	own := transport.sockets[0].mux.localAddr().String()
	if len(askedBy) != 1 || !askedBy[own] {
		t.Errorf("the server was asked from %v, want %s alone", askedBy, own)
	}
	if got := openFiles(t); got > files+1 { // the server's
		t.Errorf("%d sockets were opened, want the server's one", got-files)
	}
	if err := transport.Close(); err != nil {
		t.Fatal(err)
	}
	if n := server.AllocationCount(); n != 0 {
		t.Errorf("%d allocations are left", n)
	}
}

// TestRelayOfAServerThatStartedAgain and knows nothing of the allocation.
func TestRelayOfAServerThatStartedAgain(t *testing.T) {
	server := startTURN(t, "127.0.0.1:0")
	transport, direct := relayedTransport(t, server), loopbackTransport(t, nil)
	connect(t, transport, direct)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	server = startTURN(t, server.addr)
	eventually(t, "a new allocation", func() bool {
		offer, err := transport.Offer(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		_ = offer.Close()
		return server.AllocationCount() == 1
	})
	a, b := connect(t, transport, direct)
	transfer(t, a, b, randomBytes(1, 1<<20))
}

// TestUnusedRelaysAreGivenUp, and made again when they are needed.
func TestUnusedRelaysAreGivenUp(t *testing.T) {
	server := startTURN(t, "127.0.0.1:0")
	transport := relayedTransport(t, server)
	offer, err := transport.Offer(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	relays := transport.sockets[0].relays
	age := func() {
		relays.mu.Lock()
		defer relays.mu.Unlock()
		for _, s := range relays.servers {
			if s.relay != nil {
				s.relay.used = time.Now().Add(-2 * relayIdle)
			}
		}
	}
	age()
	relays.forget()
	if n := server.AllocationCount(); n != 1 {
		t.Errorf("%d allocations while one is used", n)
	}
	if err := offer.Close(); err != nil {
		t.Fatal(err)
	}
	<-offer.s.gone
	relays.forget() // too early
	if n := server.AllocationCount(); n != 1 {
		t.Errorf("%d allocations just after the last use", n)
	}
	age()
	relays.forget()
	eventually(t, "the allocation to end", func() bool { return server.AllocationCount() == 0 })
	if _, err := transport.Offer(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if made, _ := server.counts(); made != 2 {
		t.Errorf("%d allocations were made, want 2", made)
	}
}

// TestACrowdOfOffersAsksASilentServerOnce also with more servers than are kept.
func TestACrowdOfOffersAsksASilentServerOnce(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	from := make(chan netip.AddrPort, 1000)
	go func() {
		b := make([]byte, maxPacket)
		for {
			_, addr, err := silent.ReadFrom(b)
			if err != nil {
				close(from)
				return
			}
			from <- addr.(*net.UDPAddr).AddrPort()
		}
	}()
	transport := loopbackTransport(t, func(c *Config) {
		c.ICEServers, c.GatherTimeout = []string{"turn:u:p@" + silent.LocalAddr().String()}, 300*time.Millisecond
	})
	const crowd = 50
	var wg sync.WaitGroup
	start := time.Now()
	for range crowd {
		wg.Go(func() {
			offer, err := transport.Offer(testContext(t))
			if err != nil || !strings.Contains(offer.SDP, "typ host") {
				t.Errorf("an offer without the server: %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > raceSlowdown*time.Second {
		t.Errorf("the offers took %v with a gather timeout of 300 ms", took)
	}
	time.Sleep(300 * time.Millisecond)
	silent.Close()
	asked := map[netip.AddrPort]int{}
	for addr := range from {
		asked[addr]++
	}
	if len(asked) != 1 {
		t.Errorf("asked from %d ports", len(asked))
	}
	for addr, n := range asked {
		if n > 4 { // at 0, 250, 750 ms
			t.Errorf("asked %d times from %v", n, addr)
		}
	}
	for i := range 3 * maxRelays {
		uri := &stun.URI{Scheme: stun.SchemeTypeTURN, Proto: stun.ProtoTypeUDP, Host: "127.0.0.1", Port: 1 + i, Username: "u", Password: "p"}
		relays := transport.sockets[0].relays
		relays.mu.Lock()
		for _, family := range ipFamilies {
			relays.server(uri, family)
		}
		if n := len(relays.servers); n > 2*maxRelays+2 {
			t.Errorf("%d servers, want %d at most", n, 2*maxRelays+2)
		}
		relays.mu.Unlock()
	}
}

// TestOffersWithARelayLeaveNothing closes them at any time of their making.
func TestOffersWithARelayLeaveNothing(t *testing.T) {
	server := startTURN(t, "127.0.0.1:0")
	transport := loopbackTransport(t, func(c *Config) { c.ICEServers, c.MaxPending = []string{server.url()}, 1000 })
	if _, err := transport.Offer(testContext(t)); err != nil {
		t.Fatal(err)
	}
	goroutines := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			ctx := testContext(t)
			if i%2 == 1 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Duration(i)*time.Millisecond/10)
				defer cancel()
			}
			offer, err := transport.Offer(ctx)
			switch {
			case err == nil:
				_ = offer.Close()
				<-offer.s.gone
			case i%2 == 0:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	eventually(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	relays := transport.sockets[0].relays
	eventually(t, "the shares to be given back", func() bool {
		relays.mu.Lock()
		defer relays.mu.Unlock()
		for _, s := range relays.servers {
			if s.relay != nil {
				return s.relay.users == 1
			}
		}
		return false
	})
	transport.front.mu.Lock()
	defer transport.front.mu.Unlock()
	if conns, grants := len(transport.front.conns), len(transport.front.grants); conns != 3 || grants != 1 {
		t.Errorf("the front has %d sockets and %d grants, want 3 and 1", conns, grants)
	}
}
