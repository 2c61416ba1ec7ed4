package webrtcwire

import (
	"context"
	"fmt"
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

	"github.com/causeway-bt/causeway/bench/realpeer"
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
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &turnServer{addr: udp.LocalAddr().String(), askedBy: map[string]bool{}}
	ip := udp.LocalAddr().(*net.UDPAddr).IP
	s.RelayAddressGeneratorStatic = turn.RelayAddressGeneratorStatic{RelayAddress: ip, Address: ip.String()}
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

// TestRelayCandidatesAreWellFormed: Firefox takes none without a related address (RFC 8839 section 5.1), and
// this tells nobody where we are.
func TestRelayCandidatesAreWellFormed(t *testing.T) {
	server := startTURN(t, "127.0.0.1:0")
	offer, err := relayedTransport(t, server).Offer(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(offer.SDP, " typ relay raddr 0.0.0.0 rport 9"); n != 1 || strings.Count(offer.SDP, "a=candidate:") != 1 {
		t.Errorf("%d candidates of a relay and nothing else, want 1, in\n%s", n, offer.SDP)
	}
}

// TestRelayOfIPv6 reaches a peer that has nothing else.
func TestRelayOfIPv6(t *testing.T) {
	on := func(address string, change func(*Config)) *Transport {
		udp, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Skip("no IPv6 on this host:", err)
		}
		return loopbackTransport(t, func(c *Config) {
			c.PacketConns[0].Close()
			c.PacketConns = []net.PacketConn{udp}
			change(c)
		})
	}
	direct := on("[::1]:0", func(*Config) {})
	server := startTURN(t, "[::1]:0")
	transport := on("[::]:0", func(c *Config) { c.ICEServers, c.RelayOnly = []string{server.url()}, true })
	a, b := connect(t, transport, direct)
	transfer(t, a, b, randomBytes(1, 1<<20))
	transfer(t, b, a, randomBytes(2, 1<<20))
	if path := a.Path(); path.Local != "relay" {
		t.Errorf("path %+v", path)
	}
}

// TestRelayBesideServersThatAreDown is in every description, which does not wait for them each time.
func TestRelayBesideServersThatAreDown(t *testing.T) {
	server, silent := startTURN(t, "127.0.0.1:0"), silentServer(t)
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and answers nothing
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	for _, relayOnly := range []bool{false, true} {
		transport := loopbackTransport(t, func(c *Config) {
			c.GatherTimeout, c.RelayOnly = time.Second, relayOnly
			c.ICEServers = []string{"turn:u:p@" + silent, server.url(), "turn:u:p@" + deaf.Addr().String() + "?transport=tcp"}
		})
		start := time.Now()
		for range 3 {
			offer, err := transport.Offer(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(offer.SDP, " typ relay ") || strings.Contains(offer.SDP, " typ host") == relayOnly {
				t.Errorf("relay only: %t, but in\n%s", relayOnly, offer.SDP)
			}
		}
		if took := time.Since(start); took > raceSlowdown*time.Second {
			t.Errorf("three offers took %v", took)
		}
	}
}

// TestRelayByTCPTakesLargePackets: that of one peer, larger than any of ours, ends nothing.
func TestRelayByTCPTakesLargePackets(t *testing.T) {
	server := realpeer.StartTURN(t)
	transport := loopbackTransport(t, func(c *Config) { c.ICEServers, c.RelayOnly = []string{turnURL(server, "tcp")}, true })
	a, b := connect(t, transport, loopbackTransport(t, nil))
	stranger, err := net.Dial("udp", transport.onlyRelay(t).allocation.Relayed().String())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	for _, size := range []int{3000, 30_000} { // its host is a peer's, too
		if _, err := stranger.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		transfer(t, a, b, randomBytes(1, 1<<20))
		transfer(t, b, a, randomBytes(2, 1<<20))
	}
}

// TestRelayByTCPThatIsCut is made again for the next description.
func TestRelayByTCPThatIsCut(t *testing.T) {
	server := realpeer.StartTURN(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cut := forward(t, ln, server.Addr)
	transport := loopbackTransport(t, func(c *Config) {
		c.ICEServers, c.RelayOnly = []string{fmt.Sprintf("turn:%s:%s@%v?transport=tcp", server.User, server.Password, ln.Addr())}, true
	})
	direct := loopbackTransport(t, nil)
	connect(t, transport, direct)
	before := transport.onlyRelay(t)
	cut()
	eventually(t, "the end to be noticed", func() bool { return !before.alive() })
	a, b := connect(t, transport, direct)
	transfer(t, a, b, randomBytes(1, 1<<20))
}

// onlyRelay is the relay that there is.
func (t *Transport) onlyRelay(tb testing.TB) *relay {
	tb.Helper()
	relays := t.sockets[0].relays
	relays.mu.Lock()
	defer relays.mu.Unlock()
	for _, s := range relays.servers {
		if s.relay != nil {
			return s.relay
		}
	}
	tb.Fatal("there is no relay")
	return nil
}
