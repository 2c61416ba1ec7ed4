package portmap

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// server is a gateway of the test's own that speaks PCP and NAT-PMP.
type server struct {
	conn *net.UDPConn

	mu          sync.Mutex
	pcp, natpmp bool
	booted      time.Time
	external    netip.Addr
	mapped      map[mapKey]mapped
	renewals    int
	give        func(tcp bool, asked uint16) uint16 // the external port
	lease       uint32                              // the most that is given, in seconds
	refuse      byte                                // result of mapping requests
	first       []byte                              // sent before each answer
}

type mapKey struct {
	tcp      bool
	internal uint16
}

type mapped struct {
	external uint16
	nonce    nonce
}

func newServer(t *testing.T) *server {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{
		conn: conn, pcp: true, natpmp: true, booted: time.Now().Add(-time.Hour), lease: 3600,
		external: netip.MustParseAddr("203.0.113.9"), mapped: make(map[mapKey]mapped),
		give: func(_ bool, asked uint16) uint16 { return asked },
	}
	var serving sync.WaitGroup
	serving.Go(s.serve)
	t.Cleanup(func() {
		conn.Close()
		serving.Wait()
	})
	return s
}

func (s *server) serve() {
	b := make([]byte, 2000)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		s.mu.Lock()
		answer, first := s.answer(b[:n]), s.first
		s.mu.Unlock()
		if first != nil {
			s.conn.WriteToUDPAddrPort(first, from)
		}
		if answer != nil {
			s.conn.WriteToUDPAddrPort(answer, from)
		}
	}
}

// change changes how it behaves.
func (s *server) change(how func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how()
}

// table is what is mapped, and to where.
func (s *server) table() map[mapKey]mapped {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.mapped)
}

// reboot forgets everything.
func (s *server) reboot() {
	s.change(func() {
		s.booted = time.Now()
		clear(s.mapped)
	})
}

func (s *server) clock() uint32 { return uint32(time.Since(s.booted) / time.Second) }

func (s *server) answer(b []byte) []byte {
	switch {
	case len(b) >= 24 && b[0] == 2 && s.pcp:
		return s.answerPCP(b)
	case len(b) >= 2 && b[0] == 0 && s.natpmp:
		return s.answerNATPMP(b)
	case len(b) >= 2 && b[0] == 2 && s.natpmp:
		// RFC 6886 section 3.5: another version than its own
		return []byte{0, 128 + b[1], 0, 1, 0, 0, 0, 0}
	}
	return nil
}

// set maps, renews or removes, and returns the external port and the lease.
func (s *server) set(key mapKey, n nonce, asked uint16, lease uint32) (external uint16, given uint32) {
	if lease == 0 {
		delete(s.mapped, key)
		return 0, 0
	}
	m, known := s.mapped[key]
	if known {
		s.renewals++
	} else {
		m = mapped{s.give(key.tcp, asked), n}
	}
	s.mapped[key] = m
	return m.external, min(lease, s.lease)
}

func (s *server) answerPCP(b []byte) []byte {
	answer := make([]byte, 24, 60)
	answer[0], answer[1] = 2, b[1]|0x80
	binary.BigEndian.PutUint32(answer[8:], s.clock())
	if b[1] != 1 {
		return answer
	}
	answer = append(answer, b[24:60]...)
	key := mapKey{b[36] == 6, binary.BigEndian.Uint16(b[40:])}
	n := nonce(b[24:36])
	if s.refuse != 0 || s.mapped[key].external != 0 && s.mapped[key].nonce != n {
		answer[3] = max(s.refuse, 2)
		return answer
	}
	external, lease := s.set(key, n, binary.BigEndian.Uint16(b[42:]), binary.BigEndian.Uint32(b[4:]))
	binary.BigEndian.PutUint32(answer[4:], lease)
	binary.BigEndian.PutUint16(answer[42:], external)
	as16 := s.external.As16()
	copy(answer[44:], as16[:])
	return answer
}

func (s *server) answerNATPMP(b []byte) []byte {
	answer := make([]byte, 8, 16)
	answer[1] = b[1] + 128
	binary.BigEndian.PutUint32(answer[4:], s.clock())
	if b[1] == 0 {
		return append(answer, s.external.AsSlice()...)
	}
	if s.refuse != 0 {
		answer[3] = s.refuse
		return answer
	}
	internal := binary.BigEndian.Uint16(b[4:])
	external, lease := s.set(mapKey{b[1] == 2, internal}, nonce{}, binary.BigEndian.Uint16(b[6:]), binary.BigEndian.Uint32(b[8:]))
	answer = binary.BigEndian.AppendUint16(answer, internal)
	answer = binary.BigEndian.AppendUint16(answer, external)
	return binary.BigEndian.AppendUint32(answer, lease)
}

// onlyServer is a network on which there is nothing but the server.
type onlyServer struct{ *server }

func (n onlyServer) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, n.conn.LocalAddr().String())
}

func (onlyServer) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, errors.New("there is no multicast here")
}

func (onlyServer) Interfaces() ([]net.Interface, error) { return nil, nil }
func (onlyServer) Bound(bool) netip.Addr                { return netip.Addr{} }
func (onlyServer) Outgoing(bool) (netip.Addr, error)    { return ourAddr, nil }

const ourPort = 6881

var ourAddr = netip.MustParseAddr("192.168.1.7")

// quick are the intervals of tests.
var quick = timing{
	lease: time.Hour, tunnelLease: time.Minute, minRenew: 20 * time.Millisecond,
	check: 20 * time.Millisecond, checkUPnP: 20 * time.Millisecond, interfaces: 20 * time.Millisecond,
	retry: 20 * time.Millisecond, maxRetry: 20 * time.Millisecond,
	probe: 3 * time.Second, grace: 300 * time.Millisecond, shortGrace: 50 * time.Millisecond,
	exchange: 3 * time.Second, leave: 3 * time.Second,
}

// mapping starts a Mapper that has the server for its gateway, and returns what it tells.
func mapping(t *testing.T, s *server, with func(*Mapper)) (m *Mapper, told <-chan Status) {
	statuses := make(chan Status, 1000)
	m = prepare(Config{
		Network: onlyServer{s}, Port: ourPort, TCP: true,
		OnChange: func(s Status) { statuses <- s },
	})
	m.timing = quick
	m.way = func() (way, error) {
		return way{local: ourAddr, gateways: []netip.Addr{netip.MustParseAddr("192.168.1.1")}}, nil
	}
	if with != nil {
		with(m)
	}
	m.start()
	t.Cleanup(m.Close)
	return m, statuses
}

// await returns the first status that fits.
func await(t *testing.T, told <-chan Status, what string, fits func(Status) bool) Status {
	t.Helper()
	timeout := time.After(20 * time.Second)
	var last Status
	for {
		select {
		case last = <-told:
			if fits(last) {
				return last
			}
		case <-timeout:
			t.Fatalf("not told: %s; the last was %+v", what, last)
		}
	}
}

func isOK(s Status) bool { return s.State == OK }
