package discovery

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newNode starts a DHT node on loopback that knows the given bootstrap nodes.
func newNode(t *testing.T, cfg DHTConfig) (*DHT, netip.AddrPort) {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Conn = pc
	d, err := NewDHT(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d, pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// at is a port that is the same in both families.
func at(port int) func(bool) Port { return func(bool) Port { return Port{Number: uint16(port)} } }

// announce runs Announce until the test ends and returns what it finds.
func announce(t *testing.T, d *DHT, infoHash [20]byte, port int) <-chan netip.AddrPort {
	t.Helper()
	return announceAt(t, d, infoHash, at(port))
}

func announceAt(t *testing.T, d *DHT, infoHash [20]byte, port func(v4 bool) Port) <-chan netip.AddrPort {
	t.Helper()
	found := make(chan netip.AddrPort, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Announce(ctx, infoHash, port, NewNeed(Fresh), func(peers []netip.AddrPort) {
			for _, p := range peers {
				select {
				case found <- p:
				default:
				}
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return found
}

// waitFor waits until found names peer, for three seconds: the time within which a
// magnet link should have its first peer.
func waitFor(t *testing.T, found <-chan netip.AddrPort, peer string) {
	t.Helper()
	awaitPeer(t, found, peer, 3*time.Second)
}

func awaitPeer(t *testing.T, found <-chan netip.AddrPort, peer string, within time.Duration) {
	t.Helper()
	timeout := time.After(within)
	for {
		select {
		case p := <-found:
			if p.String() == peer {
				return
			}
		case <-timeout:
			t.Fatalf("peer %s not found within %v", peer, within)
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within 10 s: %s", what)
}

func TestPeersFindEachOtherByAThirdNode(t *testing.T) {
	_, router := newNode(t, DHTConfig{})
	seed, _ := newNode(t, DHTConfig{Bootstrap: []string{router.String()}})
	leech, _ := newNode(t, DHTConfig{Bootstrap: []string{router.String()}})
	hash := [20]byte{1, 2, 3}
	announce(t, seed, hash, 1001)
	waitFor(t, announce(t, leech, hash, 1002), "127.0.0.1:1001")
}

func TestTwoNodesFindEachOther(t *testing.T) {
	seed, addr := newNode(t, DHTConfig{})
	hash := [20]byte{4, 5, 6}
	seedFound := announce(t, seed, hash, 1001) // announced while it knows nobody
	leech, _ := newNode(t, DHTConfig{Bootstrap: []string{addr.String()}})
	leechFound := announce(t, leech, hash, 1002)
	waitFor(t, seedFound, "127.0.0.1:1002")
	waitFor(t, leechFound, "127.0.0.1:1001")
}

func TestNodeGivenByAPeer(t *testing.T) {
	a, _ := newNode(t, DHTConfig{})
	_, addr := newNode(t, DHTConfig{})
	a.AddNode(addr)
	eventually(t, "the node answers and is kept", func() bool { return a.NumNodes() == 1 })
}

func TestBootstrapByNameAndUnknownNames(t *testing.T) {
	_, addr := newNode(t, DHTConfig{})
	_, port, _ := net.SplitHostPort(addr.String())
	a, _ := newNode(t, DHTConfig{Bootstrap: []string{"nowhere.invalid:6881", "not a host", "localhost:" + port}})
	eventually(t, "the node is reached by name", func() bool { return a.NumNodes() == 1 })
}

type memoryStore struct{ b []byte }

func (s *memoryStore) Load() []byte        { return s.b }
func (s *memoryStore) Save(b []byte) error { s.b = b; return nil }

func TestNodesAreKeptBetweenRuns(t *testing.T) {
	_, addr := newNode(t, DHTConfig{})
	store := &memoryStore{}
	first, _ := newNode(t, DHTConfig{Bootstrap: []string{addr.String()}, Nodes: store})
	eventually(t, "the first run knows a node", func() bool { return first.NumNodes() == 1 })
	first.Close()

	second, _ := newNode(t, DHTConfig{Nodes: store})
	eventually(t, "the second run reaches it", func() bool { return second.NumNodes() == 1 })
}

func TestDeadNodesOfTheLastRunAreNoObstacle(t *testing.T) {
	dead, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	store := &memoryStore{encodeNodes([]netip.AddrPort{dead.LocalAddr().(*net.UDPAddr).AddrPort()})}
	seed, addr := newNode(t, DHTConfig{})
	hash := [20]byte{7}
	announce(t, seed, hash, 1001)
	leech, _ := newNode(t, DHTConfig{Bootstrap: []string{addr.String()}, Nodes: store})
	waitFor(t, announce(t, leech, hash, 1002), "127.0.0.1:1001")
}

func TestSocketThatFailsDoesNotEndTheProgram(t *testing.T) {
	d, _ := newNode(t, DHTConfig{})
	d.cfg.Conn.Close() // by somebody else, as when the client closes its UDP port first
	d.Close()
}

func TestIPv6(t *testing.T) {
	pc, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 on this host:", err)
	}
	router, err := NewDHT(DHTConfig{Conn: pc})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(router.Close)
	var nodes []*DHT
	for range 2 {
		pc6, err := net.ListenPacket("udp6", "[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewDHT(DHTConfig{Conn: pc6, Bootstrap: []string{pc.LocalAddr().String()}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		nodes = append(nodes, d)
	}
	hash := [20]byte{8}
	announce(t, nodes[0], hash, 1001)
	waitFor(t, announce(t, nodes[1], hash, 1002), "[::1]:1001")
}
