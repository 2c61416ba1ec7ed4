package discovery

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
)

const nodeID = "2:id20:abcdefghij0123456789"

func TestAcceptable(t *testing.T) {
	for _, c := range []struct {
		name, packet string
		want         bool
	}{
		{"ping", "d1:ad" + nodeID + "e1:q4:ping1:t2:aa1:y1:qe", true},
		{"get_peers", "d1:ad" + nodeID + "9:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe", true},
		{"answer with values", "d1:rd" + nodeID + "5:token1:x6:valuesl6:abcdefee1:t2:aa1:y1:re", true},
		{"error", "d1:eli201e3:noee1:t2:aa1:y1:ee", true},
		{"announce_peer", "d1:ad" + nodeID + "9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token1:xe1:q13:announce_peer1:t2:aa1:y1:qe", true},

		{"announce_peer without arguments", "d1:q13:announce_peer1:t2:aa1:y1:qe", false},
		{"announce_peer without a port", "d1:ad" + nodeID + "5:token1:xe1:q13:announce_peer1:t2:aa1:y1:qe", false},
		{"announce_peer with a port out of range", "d1:ad" + nodeID + "4:porti70000e5:token1:xe1:q13:announce_peer1:t2:aa1:y1:qe", false},
		{"a method nobody knows", "d1:ad" + nodeID + "e1:q4:pong1:t2:aa1:y1:qe", false},
		{"put", "d1:ad" + nodeID + "e1:q3:put1:t2:aa1:y1:qe", false},
		{"answer without a body", "d1:t2:aa1:y1:re", false},
		{"a peer of one byte", "d1:rd" + nodeID + "6:valuesl1:aee1:t2:aa1:y1:re", false},
		{"our address of no bytes", "d2:ip0:1:rd" + nodeID + "e1:t2:aa1:y1:re", false},
		{"nodes cut short", "d1:rd" + nodeID + "5:nodes3:abce1:t2:aa1:y1:re", false},
		{"a string that is not there", "d1:t99999999:aa1:y1:qe", false},
		{"deep nesting", "d1:a" + strings.Repeat("l", 100) + strings.Repeat("e", 100) + "1:y1:qe", false},
		{"nesting that does not end", "d1:a" + strings.Repeat("l", 4000), false},
		{"an integer without digits", "d1:ai-ee", false},
		{"something after the end", "d1:ad" + nodeID + "e1:q4:ping1:t2:aa1:y1:qeX", false},
		{"too long", "d1:t4000:" + strings.Repeat("x", 4100) + "e", false},
		{"nothing", "", false},
		{"a list", "le", false},
	} {
		if got := acceptable([]byte(c.packet)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

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

// FuzzWellFormed holds the checker against what the library encodes: whatever passes must be
// decodable without a panic of a kind that recover does not stop, and without allocation
// beyond its size.
func FuzzWellFormed(f *testing.F) {
	f.Add([]byte("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"))
	f.Add([]byte("d1:ali1eeli-0eee"))
	f.Fuzz(func(t *testing.T, b []byte) {
		acceptable(b)
		m := krpc.Msg{T: string(b[:min(len(b), 100)]), Y: "q", Q: "ping", A: &krpc.MsgArgs{}}
		if encoded := bencode.MustMarshal(m); !acceptable(encoded) {
			t.Fatalf("refused a ping: %q", encoded)
		}
	})
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
