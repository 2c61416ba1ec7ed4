package discovery

import (
	"net"
	"net/netip"
	"testing"

	"github.com/anacrolix/dht/v2/krpc"
)

// FuzzPackets sends a stranger's packets to a real node, as queries and as the answers to
// its own: it must survive, and take the next packet.
func FuzzPackets(f *testing.F) {
	f.Add([]byte("d1:ad" + nodeID + "9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token1:xe1:q13:announce_peer1:t2:aa1:y1:qe"))
	f.Add([]byte("d1:ad" + nodeID + "6:target20:mnopqrstuvwxyz1234564:wantl2:n42:n6ee1:q9:find_node1:t2:aa1:y1:qe"))
	f.Add([]byte("d2:ip6:abcdef1:rd" + nodeID + "5:nodes26:aaaaaaaaaaaaaaaaaaaabbbbcc5:token1:x6:valuesl6:abcdefee1:t2:aa1:y1:re"))
	f.Add([]byte("d1:eli201e3:noee1:t2:aa1:y1:ee"))
	pc := newScriptedConn()
	d, err := NewDHT(DHTConfig{Conn: pc})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(d.Close)
	ping := []byte("d1:ad" + nodeID + "e1:q4:ping1:t4:last1:y1:qe")
	f.Fuzz(func(t *testing.T, b []byte) {
		pc.in <- b
		pc.in <- ping // taken once b has been dealt with
		d.NumNodes()  // takes the node's lock
	})
}

// scriptedConn is a socket whose packets come from and go to a test.
type scriptedConn struct {
	net.PacketConn
	in     chan []byte
	closed chan struct{}
}

func newScriptedConn() *scriptedConn {
	return &scriptedConn{in: make(chan []byte), closed: make(chan struct{})}
}

func (c *scriptedConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.in:
		return copy(b, p), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7}, nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *scriptedConn) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }
func (c *scriptedConn) Close() error                              { close(c.closed); return nil }
func (c *scriptedConn) LocalAddr() net.Addr {
	return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
}

func TestPeerStoreIsBounded(t *testing.T) {
	s := newPeerStore()
	for i := range maxStoredTorrents + 10 {
		s.AddPeer([20]byte{byte(i), byte(i >> 8)}, krpc.NodeAddr{IP: net.IPv4(1, 2, 3, 4), Port: 1})
	}
	if len(s.torrents) != maxStoredTorrents {
		t.Errorf("%d torrents", len(s.torrents))
	}
	for i := range maxStoredPeers + 10 {
		s.AddPeer([20]byte{}, krpc.NodeAddr{IP: net.IPv4(1, 2, 3, byte(i)), Port: 1 + i})
	}
	if n := len(s.torrents[[20]byte{}]); n != maxStoredPeers {
		t.Errorf("%d peers", n)
	}
	if n := len(s.GetPeers([20]byte{})); n != maxAnsweredPeers {
		t.Errorf("%d peers in an answer", n)
	}
	s.AddPeer([20]byte{0xff, 0xff}, krpc.NodeAddr{IP: net.IP{1}, Port: 1})
	if len(s.GetPeers([20]byte{0xff, 0xff})) != 0 {
		t.Error("stored an address of one byte")
	}
}

func TestSavedNodesSurviveEncoding(t *testing.T) {
	want := []netip.AddrPort{netip.MustParseAddrPort("1.2.3.4:5"), netip.MustParseAddrPort("[2001:db8::1]:65535")}
	got := decodeNodes(append(encodeNodes(want), 1, 2, 3))
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%v", got)
	}
}
