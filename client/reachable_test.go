package client

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-bt/causeway/client/reach"
	"github.com/causeway-bt/causeway/client/swarm"
)

// connFrom is a connection that comes from an address.
type connFrom struct {
	net.Conn
	addr net.Addr
}

func (c connFrom) RemoteAddr() net.Addr { return c.addr }

// TestWhoCameByTCP: only TCP from another network shows that our port can be connected to.
func TestWhoCameByTCP(t *testing.T) {
	c := newClient(t, plain(t))
	for _, test := range []struct {
		kind swarm.Transport
		from net.Addr
		want int // who have come by then
	}{
		{swarm.UTP, &net.UDPAddr{IP: net.IPv4(5, 5, 5, 5), Port: 1}, 0},
		{swarm.TCP, &net.TCPAddr{IP: net.IPv4(192, 168, 1, 5), Port: 1}, 0},
		{swarm.TCP, &net.TCPAddr{IP: net.IPv4(5, 5, 5, 5), Port: 1}, 1},
	} {
		c.cameFrom(connFrom{addr: test.from}, test.kind)
		if got := c.CameIn(); got != test.want {
			t.Errorf("%v from %v: %d came in, want %d", test.kind, test.from, got, test.want)
		}
		if got := c.Announced().Known4; got != (test.want > 0) {
			t.Errorf("%v from %v: the port is known to be reached: %v", test.kind, test.from, got)
		}
	}
}

// TestBrowsersAreToldMappedPorts: for as long as they are mapped.
func TestBrowsersAreToldMappedPorts(t *testing.T) {
	cfg := quiet(t)
	cfg.DisablePortMap = true // the test is the gateway
	c := newClient(t, cfg)
	for _, mapped := range []bool{true, false} {
		m := reach.Mapping{}
		if mapped {
			m = reach.Mapping{Addr: netip.MustParseAddr("203.0.113.7"), TCP: 40000, UDP: 40001}
		}
		c.reach.Mapped(true, m)
		offer, err := c.shared.RTC.Offer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{" 203.0.113.7 40000 typ srflx raddr 0.0.0.0 rport 0 tcptype passive", " 203.0.113.7 40001 typ srflx"} {
			if strings.Contains(offer.SDP, want) != mapped {
				t.Errorf("mapped: %t, but %q is told: %t", mapped, want, !mapped)
			}
		}
		if err := offer.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestWhatOthersAreToldOf: a port or an address that is another one, and nothing else.
func TestWhatOthersAreToldOf(t *testing.T) {
	first, second := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("203.0.113.8")
	six := netip.MustParseAddr("2001:db8::7")
	var told told
	for i, step := range []struct {
		now  reach.Announced
		want bool
	}{
		{reach.Announced{Port4: 6881, Port6: 6881}, true},
		{reach.Announced{Port4: 6881, Port6: 6881, IP4: first}, false},
		{reach.Announced{Port4: 6881, Port6: 6881, IP4: first, IP6: six, Known4: true}, false},
		{reach.Announced{Port4: 40000, Port6: 6881, IP4: first, IP6: six, Known4: true}, true},
		{reach.Announced{Port4: 40000, Port6: 6882, IP4: first, IP6: six, Known4: true}, true},
		{reach.Announced{Port4: 40000, Port6: 6882, IP6: six}, false},
		{reach.Announced{Port4: 40000, Port6: 6882, IP4: first}, false},
		{reach.Announced{Port4: 40000, Port6: 6882}, false},
		{reach.Announced{Port4: 40000, Port6: 6882, IP4: second}, true},
	} {
		if got := told.take(step.now); got != step.want {
			t.Errorf("step %d, %+v: others are told: %v", i, step.now, got)
		}
	}
}

// TestMovesAreToldWithoutAStorm: however often we are seen elsewhere, and the last is not lost.
func TestMovesAreToldWithoutAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := reach.New(reach.Config{Port: 6881, TCP: true, Interfaces: func() ([]net.Interface, error) { return nil, nil }})
		defer r.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		moves, last := 0, uint16(0)
		r.Mapped(true, reach.Mapping{TCP: 1})
		go tellMoves(ctx, r, func() {
			moves++
			announced, _ := r.Announced()
			last = announced.Port4
		})()
		for _, voter := range []string{"5.5.0.1", "6.6.0.1", "7.7.0.1"} {
			r.Heard(reach.Peer, netip.MustParseAddr(voter), netip.MustParseAddr("203.0.113.7"))
		}
		if announced, _ := r.Announced(); !announced.IP4.IsValid() {
			t.Error("our address is not known")
		}
		synctest.Wait()
		if moves != 0 {
			t.Errorf("told %d times that our address is known", moves)
		}
		for i := range 100 {
			r.Mapped(true, reach.Mapping{TCP: uint16(100 + i)})
			time.Sleep(movesInterval / 10)
		}
		time.Sleep(movesInterval)
		synctest.Wait()
		if moves < 10 || moves > 11 || last != 199 {
			t.Errorf("told %d times, of port %d last", moves, last)
		}
	})
}
