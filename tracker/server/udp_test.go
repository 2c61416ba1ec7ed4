package server

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// udpConn is a client's socket.
type udpConn struct {
	*net.UDPConn
	t testing.TB
}

func dialUDP(t testing.TB, addr string) udpConn {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return udpConn{c.(*net.UDPConn), t}
}

// ask sends a packet and returns the reply.
func (c udpConn) ask(packet []byte) []byte {
	c.t.Helper()
	if _, err := c.Write(packet); err != nil {
		c.t.Fatal(err)
	}
	return c.reply()
}

func (c udpConn) reply() []byte {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 2048)
	n, err := c.Read(b)
	if err != nil {
		c.t.Fatal(err)
	}
	return b[:n]
}

// connect returns a connection id.
func (c udpConn) connect() uint64 {
	c.t.Helper()
	r := c.ask(connectPacket())
	if len(r) != 16 || binary.BigEndian.Uint32(r) != actionConnect || string(r[4:8]) != "tid " {
		c.t.Fatalf("reply to a connect: %x", r)
	}
	return binary.BigEndian.Uint64(r[8:])
}

func connectPacket() []byte {
	b := binary.BigEndian.AppendUint64(nil, udpMagic)
	return append(binary.BigEndian.AppendUint32(b, actionConnect), "tid "...)
}

func announcePacket(conn uint64, h, id [20]byte, left uint64, event uint32, numWant int32, port uint16) []byte {
	b := binary.BigEndian.AppendUint64(nil, conn)
	b = append(binary.BigEndian.AppendUint32(b, actionAnnounce), "tid "...)
	b = append(append(b, h[:]...), id[:]...)
	b = binary.BigEndian.AppendUint64(b, 0)
	b = binary.BigEndian.AppendUint64(b, left)
	b = binary.BigEndian.AppendUint64(b, 0)
	b = binary.BigEndian.AppendUint32(b, event)
	b = append(b, 203, 0, 113, 9) // an address that is not to be believed
	b = append(b, "key "...)
	b = binary.BigEndian.AppendUint32(b, uint32(numWant))
	return binary.BigEndian.AppendUint16(b, port)
}

func scrapePacket(conn uint64, hashes ...[20]byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, conn)
	b = append(binary.BigEndian.AppendUint32(b, actionScrape), "tid "...)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

func TestUDPAnnounceAndScrape(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		s := startAt(t, Config{}, listen)
		c := dialUDP(t, s.udp)
		conn := c.connect()
		c.ask(announcePacket(conn, hash(1), id(1), 0, 2, -1, 1111))
		c.ask(announcePacket(conn, hash(1), id(2), 5, 4, -1, 2222))
		r := c.ask(append(announcePacket(conn, hash(1), id(3), 5, 2, 1<<30, 3333), "\x02\x09/announce\x01\x00"...))
		local := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().AsSlice()
		if len(r) != 20+2*(len(local)+2) || binary.BigEndian.Uint32(r) != actionAnnounce || string(r[4:8]) != "tid " {
			t.Fatalf("reply %x", r)
		}
		if interval := binary.BigEndian.Uint32(r[8:]); interval < 1800 || interval > 1980 {
			t.Errorf("interval %d", interval)
		}
		if in, complete := binary.BigEndian.Uint32(r[12:]), binary.BigEndian.Uint32(r[16:]); in != 2 || complete != 1 {
			t.Errorf("%d incomplete, %d complete", in, complete)
		}
		for _, port := range []uint16{1111, 2222} {
			if !bytes.Contains(r[20:], binary.BigEndian.AppendUint16(local, port)) {
				t.Errorf("port %d at %v is not among %x", port, local, r[20:])
			}
		}
		c.ask(announcePacket(conn, hash(1), id(3), 0, 1, 0, 3333))
		r = c.ask(scrapePacket(conn, hash(9), hash(1)))
		want := []byte{0, 0, 0, 2, 't', 'i', 'd', ' ', 19: 0, 23: 2, 27: 1, 31: 1}
		if !bytes.Equal(r, want) {
			t.Errorf("scrape %x, want %x", r, want)
		}
		c.ask(announcePacket(conn, hash(1), id(3), 0, 3, 0, 3333))
		if n := s.Table().Size(); n.Peers4+n.Peers6 != 2 {
			t.Errorf("%+v after one of three has left", n)
		}
	}
}

// spoofing handles a packet as from an address, and returns what would be sent there.
func spoofing(s *Server, packet []byte, from string) []byte {
	var reply [UDPReply]byte
	return reply[:s.HandlePacket(nil, packet, netip.MustParseAddrPort(from), reply[:])]
}

func TestUDPWithoutConnectionIDGetsNoMoreThanItSends(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	victim, attacker := "192.0.2.1:80", "198.51.100.1:4000"
	mine := binary.BigEndian.Uint64(spoofing(s, connectPacket(), attacker)[8:])
	many := make([][20]byte, 74)
	for _, id := range []uint64{0, udpMagic, mine, mine ^ 1} {
		for _, p := range [][]byte{
			connectPacket(), connectPacket()[:16],
			announcePacket(id, hash(1), [20]byte{}, 5, 2, 200, 1), scrapePacket(id, many...), scrapePacket(id),
			scrapePacket(id)[:16], {}, make([]byte, 15), make([]byte, 1500),
		} {
			if r := spoofing(s, p, victim); len(r) > len(p) {
				t.Errorf("%d bytes for a packet of %d", len(r), len(p))
			}
		}
	}
	if s.Table().Size() != (table.Size{}) {
		t.Errorf("a spoofed announce was taken: %+v", s.Table().Size())
	}
	if r := spoofing(s, announcePacket(mine, hash(1), id(1), 5, 2, 200, 1), attacker); binary.BigEndian.Uint32(r) != actionAnnounce {
		t.Errorf("an announce by the address that has the id: %x", r)
	}
}

func TestConnectionIDsHoldForTwoMinutes(t *testing.T) {
	var ids connectionIDs
	now := time.Unix(1_700_000_000, 0)
	ids.init(now)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	ia, ib := ids.make(a), ids.make(b)
	if ia == ib || ids.valid(a, ib) || ids.valid(b, ia) || ia>>56 != ConnectionIDByte {
		t.Fatalf("ids %x, %x", ia, ib)
	}
	for after := time.Duration(0); after <= 2*time.Minute; after += time.Second {
		ids.tick(now.Add(after))
		if !ids.valid(a, ia) {
			t.Fatalf("no longer valid after %v", after)
		}
	}
	ids.tick(now.Add(4*time.Minute + time.Second))
	if ids.valid(a, ia) {
		t.Error("valid for ever")
	}
}

func TestUDPErrorsAreInWords(t *testing.T) {
	deny := t.TempDir() + "/deny"
	if err := os.WriteFile(deny, []byte(strings.Repeat("02", 20)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, Config{Deny: deny, Limits: table.Limits{HostInSwarm: 1}})
	c := dialUDP(t, s.udp)
	conn := c.connect()
	c.ask(announcePacket(conn, hash(1), id(1), 5, 0, -1, 1))
	var denied [20]byte
	for i := range denied {
		denied[i] = 2
	}
	for _, p := range []struct {
		packet []byte
		want   string
	}{
		{announcePacket(conn^1, hash(1), id(1), 5, 0, -1, 1), "connect again"},
		{announcePacket(conn, hash(1), id(1), 5, 77, -1, 1), "no such event"},
		{announcePacket(conn, hash(1), id(1), 5, 0, -1, 0), "port"},
		{announcePacket(conn, hash(1), id(2), 5, 0, -1, 2), "too many peers of this torrent from your address"},
		{announcePacket(conn, denied, id(2), 5, 0, -1, 2), "not tracked here"},
		{announcePacket(conn, hash(1), id(1), 5, 0, -1, 1)[:97], "neither an announce nor a scrape"},
		{scrapePacket(conn), "neither an announce nor a scrape"},
	} {
		r := c.ask(p.packet)
		if binary.BigEndian.Uint32(r) != actionError || string(r[4:8]) != "tid " || !strings.Contains(string(r[8:]), p.want) {
			t.Errorf("got %q, want %q", r, p.want)
		}
	}
}

func TestUDPNamesAsManyPeersAsFit(t *testing.T) {
	s := start(t, Config{MaxNumWant: 1000, Limits: table.Limits{HostInSwarm: -1}})
	for _, from := range []string{"192.0.2.1:1", "[2001:db8::1]:1"} {
		conn := binary.BigEndian.Uint64(spoofing(s.Server, connectPacket(), from)[8:])
		for port := range uint16(1000) {
			spoofing(s.Server, announcePacket(conn, hash(1), id(1), 5, 0, 0, port+1), from)
		}
		r := spoofing(s.Server, announcePacket(conn, hash(1), id(1), 5, 0, 1000, 1), from)
		if len(r) < UDPReply-18 || len(r) > UDPReply {
			t.Errorf("%s: a reply of %d bytes", from, len(r))
		}
	}
}

func TestPacketsOfOthersOnTheSamePort(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	others := make(chan string, 10)
	go s.ServePacketShared(pc, func(b []byte, from netip.AddrPort) { others <- string(b) + from.String() })
	c := dialUDP(t, pc.LocalAddr().String())
	stun := "\x00\x01\x00\x00\x21\x12\xa4\x42transaction."
	for range 3 {
		if _, err := c.Write([]byte(stun)); err != nil {
			t.Fatal(err)
		}
	}
	c.connect()
	for range 3 {
		if got := <-others; got != stun+c.LocalAddr().String() {
			t.Errorf("the other side got %q", got)
		}
	}
}

// TestPacketConnOfAnyKind has a PacketConn that is no *net.UDPConn, as a network in memory.
func TestPacketConnOfAnyKind(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.ServePacket(struct{ net.PacketConn }{pc})
	c := dialUDP(t, pc.LocalAddr().String())
	if r := c.ask(announcePacket(c.connect(), hash(1), id(1), 5, 2, -1, 1)); binary.BigEndian.Uint32(r) != actionAnnounce {
		t.Errorf("%x", r)
	}
}

func TestUDPPacketsAllocateNothing(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	from := netip.MustParseAddrPort("192.0.2.1:4000")
	var reply [UDPReply]byte
	s.HandlePacket(nil, connectPacket(), from, reply[:])
	conn := binary.BigEndian.Uint64(reply[8:])
	announce, scrape := announcePacket(conn, hash(1), id(1), 5, 2, 50, 1), scrapePacket(conn, hash(1), hash(2))
	for _, p := range [][]byte{connectPacket(), announce, scrape} {
		s.HandlePacket(nil, p, from, reply[:])
		if n := testing.AllocsPerRun(100, func() { s.HandlePacket(nil, p, from, reply[:]) }); n != 0 {
			t.Errorf("%v allocations for a packet of %d bytes", n, len(p))
		}
	}
}

func TestURLData(t *testing.T) {
	for _, c := range []struct{ options, want string }{
		{"", ""},
		{"\x00\x02\x01x", ""},
		{"\x02\x05/a?b=\x02\x01c", "/a?b=c"},
		{"\x01\x01\x07\x02xx\x02\x02/a", "/a"},
		{"\x02\x05/a", ""},
		{"\x02", ""},
	} {
		if got := urlData([]byte(c.options)); string(got) != c.want {
			t.Errorf("%q: %q, want %q", c.options, got, c.want)
		}
	}
}

func FuzzUDPPacket(f *testing.F) {
	s, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	from := netip.MustParseAddrPort("192.0.2.1:4000")
	var reply [UDPReply]byte
	s.HandlePacket(nil, connectPacket(), from, reply[:])
	conn := binary.BigEndian.Uint64(reply[8:])
	f.Add(connectPacket(), false)
	f.Add(announcePacket(0, hash(1), id(1), 5, 2, 50, 1), true)
	f.Add(append(announcePacket(0, hash(1), id(1), 0, 3, -1, 0), 2, 3, 'a', 'b', 'c'), true)
	f.Add(scrapePacket(0, hash(1), hash(2)), true)
	f.Fuzz(func(t *testing.T, b []byte, known bool) {
		if known && len(b) >= 8 {
			binary.BigEndian.PutUint64(b, conn)
		}
		n := s.HandlePacket(nil, b, from, reply[:])
		if n > len(b) && !known && !bytes.HasPrefix(b, binary.BigEndian.AppendUint64(nil, conn)) {
			t.Fatalf("%d bytes for %d without a connection id", n, len(b))
		}
		if n > 0 && (n < 8 || string(reply[4:8]) != string(b[12:16])) {
			t.Fatalf("reply %x to %x", reply[:n], b)
		}
	})
}
