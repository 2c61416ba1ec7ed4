package main_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/netns"
)

// natpmpExternal is the public address that a natpmpServer tells.
const natpmpExternal = "6.6.6.6"

// natpmpLease is the longest lease that a natpmpServer gives, in seconds: so short that it is renewed
// after 10 s, as soon as any is.
const natpmpLease = 12

// natpmpServer answers to NAT-PMP (RFC 6886), giving every request the same port. What comes in
// there it does not pass on.
type natpmpServer struct {
	port   uint16
	booted time.Time

	mu      sync.Mutex
	asked   []natpmpRequest // without those that were sent again, as no answer had come
	last    map[natpmpRequest]time.Time
	packets int
}

// natpmpAgain is after what time a request is a new one: clients send one again for 4 s.
const natpmpAgain = 5 * time.Second

// natpmpRequest asks for a mapping, or with lease 0 to remove it.
type natpmpRequest struct {
	tcp                 bool
	internal, suggested uint16
	lease               uint32 // seconds
}

// startNATPMP starts a natpmpServer at an address of a host's, for as long as the test runs.
func startNATPMP(t *testing.T, host *netns.Host, at netip.Addr, port uint16) *natpmpServer {
	t.Helper()
	var conn *net.UDPConn
	var err error
	host.Do(func() { conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 5351))) })
	if err != nil {
		t.Fatal(err)
	}
	s := &natpmpServer{port: port, booted: time.Now().Add(-time.Hour), last: make(map[natpmpRequest]time.Time)}
	var serving sync.WaitGroup
	serving.Go(func() {
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if answer := s.answer(b[:n]); answer != nil {
				_, _ = conn.WriteToUDPAddrPort(answer, from)
			}
		}
	})
	t.Cleanup(func() {
		conn.Close()
		serving.Wait()
	})
	return s
}

func (s *natpmpServer) answer(b []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets++
	if len(b) < 2 || b[0] != 0 {
		return nil // of PCP
	}
	answer := []byte{0, 128 + b[1], 0, 0}
	answer = binary.BigEndian.AppendUint32(answer, uint32(time.Since(s.booted)/time.Second))
	switch len(b) {
	case 2:
		return append(answer, netip.MustParseAddr(natpmpExternal).AsSlice()...)
	case 12:
		r := natpmpRequest{b[1] == 2, binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]), binary.BigEndian.Uint32(b[8:])}
		if now := time.Now(); now.Sub(s.last[r]) > natpmpAgain {
			s.asked = append(s.asked, r)
			s.last[r] = now
		}
		external := s.port
		if r.lease == 0 {
			external = 0
		}
		answer = binary.BigEndian.AppendUint16(answer, r.internal)
		answer = binary.BigEndian.AppendUint16(answer, external)
		return binary.BigEndian.AppendUint32(answer, min(r.lease, natpmpLease))
	}
	return nil
}

// of returns what was asked of TCP, or of UDP.
func (s *natpmpServer) of(tcp bool) []natpmpRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.asked), func(r natpmpRequest) bool { return r.tcp != tcp })
}

// heard is how many packets have come.
func (s *natpmpServer) heard() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.packets
}
