package portmap

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestPortIsMappedAndGivenBack(t *testing.T) {
	for _, test := range []struct {
		name        string
		pcp, natpmp bool
		want        Protocol
	}{{"pcp", true, false, PCP}, {"nat-pmp", false, true, NATPMP}, {"both", true, true, PCP}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.change(func() { s.pcp, s.natpmp = test.pcp, test.natpmp })
			m, told := mapping(t, s, nil)
			got := await(t, told, "that it is mapped", isOK)
			want := Status{
				State: OK, Protocol: test.want, Gateway: netip.MustParseAddr("192.168.1.1"),
				Internal: netip.AddrPortFrom(ourAddr, ourPort), External: netip.AddrPortFrom(s.external, ourPort),
				UDPPort: ourPort, Lease: time.Hour,
			}
			if got != want {
				t.Errorf("told %+v, want %+v", got, want)
			}
			if n := len(s.table()); n != 2 {
				t.Errorf("the gateway maps %d ports, want TCP and UDP", n)
			}
			m.Close()
			if left := s.table(); len(left) != 0 {
				t.Errorf("still mapped after the end: %v", left)
			}
		})
	}
}

// Gateways of VPN providers document leases of a minute.
func TestTunnelsHaveShortLeases(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, told := mapping(t, s, func(m *Mapper) {
		m.way = func() (way, error) {
			return way{local: ourAddr, tunnel: true, gateways: []netip.Addr{netip.MustParseAddr("10.2.0.1")}}, nil
		}
	})
	if got := await(t, told, "that it is mapped", isOK); got.Lease != time.Minute {
		t.Errorf("the lease is %v", got.Lease)
	}
}

// A lease is renewed long before it ends, with the same nonce.
func TestLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.change(func() { s.lease = 2 })
	_, told := mapping(t, s, func(m *Mapper) { m.timing.check = time.Hour })
	await(t, told, "that it is mapped", isOK)
	deadline := time.Now().Add(20 * time.Second)
	for {
		var renewals int
		s.change(func() { renewals = s.renewals })
		if renewals >= 4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("renewed %d times", renewals)
		}
		time.Sleep(10 * time.Millisecond)
	}
	select {
	case extra := <-told:
		t.Errorf("told again although nothing has changed: %+v", extra)
	default:
	}
}

// A gateway that was restarted has forgotten the mapping: its clock tells.
func TestForgottenMappingIsFound(t *testing.T) {
	for _, protocol := range []Protocol{PCP, NATPMP} {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.change(func() { s.pcp = protocol == PCP })
			_, told := mapping(t, s, nil)
			await(t, told, "that it is mapped", isOK)
			s.reboot()
			await(t, told, "that it is lost", func(s Status) bool { return s.State == Lost })
			await(t, told, "that it is mapped again", isOK)
			if n := len(s.table()); n != 2 {
				t.Errorf("the gateway maps %d ports", n)
			}
		})
	}
}

func TestAnotherPortIsTold(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.change(func() { s.give = func(bool, uint16) uint16 { return 40123 } })
	_, told := mapping(t, s, nil)
	got := await(t, told, "that it is mapped", isOK)
	if got.External.Port() != 40123 || got.UDPPort != 40123 || got.Internal.Port() != ourPort {
		t.Errorf("told %+v", got)
	}
}

// A gateway that gives each request the next port, unless it can give the one that is asked
// for, still has one port for TCP and UDP.
func TestTCPAndUDPGetTheSamePort(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.change(func() {
		s.give = func(tcp bool, asked uint16) uint16 {
			if tcp && asked == 41002 {
				return asked
			}
			return map[bool]uint16{true: 41001, false: 41002}[tcp]
		}
	})
	_, told := mapping(t, s, nil)
	got := await(t, told, "that it is mapped", isOK)
	if got.External.Port() != 41002 || got.UDPPort != 41002 {
		t.Errorf("told %+v", got)
	}
}

func TestNewExternalAddressIsFollowed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.change(func() { s.pcp = false })
	_, told := mapping(t, s, nil)
	await(t, told, "that it is mapped", isOK)
	other := netip.MustParseAddr("203.0.113.77")
	s.change(func() { s.external = other })
	await(t, told, "the new address", func(s Status) bool { return s.State == OK && s.External.Addr() == other })
}

func TestInterfacesAreFollowed(t *testing.T) {
	t.Parallel()
	first, second := newServer(t), newServer(t)
	moved := make(chan struct{})
	var networks = map[bool]*server{false: first, true: second}
	at := func() bool {
		select {
		case <-moved:
			return true
		default:
			return false
		}
	}
	_, told := mapping(t, first, func(m *Mapper) {
		m.way = func() (way, error) {
			w := way{local: ourAddr, gateways: []netip.Addr{netip.MustParseAddr("192.168.1.1")}}
			if at() {
				w.local = netip.MustParseAddr("10.0.0.7")
			}
			m.cfg.Network = onlyServer{networks[at()]}
			return w, nil
		}
	})
	await(t, told, "that it is mapped", isOK)
	close(moved)
	await(t, told, "that it is mapped from the other address", func(s Status) bool {
		return s.State == OK && s.Internal.Addr() == netip.MustParseAddr("10.0.0.7")
	})
	if len(second.table()) != 2 {
		t.Errorf("the second gateway maps %v", second.table())
	}
}

// An interface that has its address taken, and given back, keeps its mapping: it cannot be removed
// meanwhile, and is still ours after it.
func TestMappingOfALostInterfaceIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.change(func() { s.natpmp = false })
	var down atomic.Bool
	_, told := mapping(t, s, func(m *Mapper) {
		m.cfg.Network = failingServer{onlyServer{s}, &down}
		find := m.way
		m.way = func() (way, error) {
			if down.Load() {
				return way{}, errUnreachable
			}
			return find()
		}
	})
	await(t, told, "that it is mapped", isOK)
	down.Store(true)
	await(t, told, "that it is lost", func(s Status) bool { return s.State == Lost })
	if n := len(s.table()); n != 2 {
		t.Fatalf("the gateway maps %d ports, want those that could not be removed", n)
	}
	down.Store(false)
	await(t, told, "that it is mapped again", isOK)
}

var errUnreachable = errors.New("network is unreachable")

// failingServer is a network that fails at times.
type failingServer struct {
	onlyServer
	down *atomic.Bool
}

func (n failingServer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if n.down.Load() {
		return nil, errUnreachable
	}
	return n.onlyServer.DialContext(ctx, network, address)
}

// Where PCP refuses because a former run's mapping is still there, NAT-PMP is used.
func TestNextProtocolIsUsedWhenOneRefuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.change(func() { s.mapped[mapKey{true, ourPort}] = mapped{ourPort, nonce{1}} })
	_, told := mapping(t, s, nil)
	if got := await(t, told, "that it is mapped", isOK); got.Protocol != NATPMP {
		t.Errorf("mapped by %s", got.Protocol)
	}
}

func TestRefusalIsToldInWords(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.change(func() { s.refuse = 2 })
	m, told := mapping(t, s, nil)
	got := await(t, told, "that it is refused", func(s Status) bool { return s.State == Failed })
	if got.Protocol != PCP || !strings.Contains(got.Err.Error(), "the gateway 192.168.1.1 does not map TCP port 6881 (pcp)") {
		t.Errorf("told %+v", got)
	}
	s.change(func() { s.refuse = 0 })
	await(t, told, "that it is mapped after all", isOK)
	m.Close()
}

// Rubbish is passed over, and what answers with nothing else is no gateway.
func TestRubbishIsNoAnswer(t *testing.T) {
	t.Parallel()
	for _, rubbish := range []string{"\x00", "\x02\x81", "\x00\x80\x00", strings.Repeat("\xff", 1400), "HTTP/1.1 200 OK\r\n\r\n"} {
		s := newServer(t)
		s.change(func() { s.first = []byte(rubbish) })
		_, told := mapping(t, s, nil)
		await(t, told, "that it is mapped", isOK)
	}
	s := newServer(t)
	s.change(func() { s.pcp, s.natpmp, s.first = false, false, []byte("\x02\x81") })
	m, _ := mapping(t, s, func(m *Mapper) { m.timing.probe = 300 * time.Millisecond })
	if got := awaitNone(t, m); !errors.Is(got.Err, ErrNoGateway) {
		t.Errorf("the reason is %v", got.Err)
	}
	m.Close()
}

// awaitNone returns the status when there is no mapping, which is not told.
func awaitNone(t *testing.T, m *Mapper) Status {
	t.Helper()
	for {
		status, changed := m.Status()
		if status.State == None {
			return status
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			t.Fatalf("still %+v", status)
		}
	}
}

// On a network that needs no mapping, the one of another network is not missed.
func TestLostMappingIsNotMissedWhereNoneIsNeeded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var public atomic.Bool
	m, told := mapping(t, s, func(m *Mapper) {
		find := m.way
		m.way = func() (way, error) {
			if public.Load() {
				return way{local: netip.MustParseAddr("203.0.113.1")}, ErrPublic
			}
			return find()
		}
	})
	await(t, told, "that it is mapped", isOK)
	public.Store(true)
	await(t, told, "that it is lost", func(s Status) bool { return s.State == Lost })
	if got := awaitNone(t, m); !errors.Is(got.Err, ErrPublic) {
		t.Errorf("the reason is %v", got.Err)
	}
}

// A gateway that gives up answering does not hold up the end.
func TestEndIsQuick(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	m, told := mapping(t, s, func(m *Mapper) { m.timing.leave = 100 * time.Millisecond })
	await(t, told, "that it is mapped", isOK)
	s.change(func() { s.pcp, s.natpmp = false, false })
	began := time.Now()
	m.Close()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestEpoch(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, test := range []struct {
		name           string
		clock          uint32
		passed         time.Duration
		wantsRestarted bool
	}{
		{"as it should be", 1060, time.Minute, false},
		{"a little slow", 1057, time.Minute, false},
		{"a little fast", 1062, time.Minute, false},
		{"back by one, as delayed packets are", 999, 0, false},
		{"from the start", 3, time.Minute, true},
		{"another machine", 90000, time.Minute, true},
		{"standing still", 1000, time.Minute, true},
	} {
		e := epoch{}
		e.restarted(1000, start)
		if got := e.restarted(test.clock, start.Add(test.passed)); got != test.wantsRestarted {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
