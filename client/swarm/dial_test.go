package swarm

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-bt/causeway/client/allot"
	"github.com/causeway-bt/causeway/client/discovery"
	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/wire"
	"github.com/causeway-bt/causeway/wire/transport"
)

// TestWhoWinsTheRaceIsRemembered: TCP is tried first, uTP when it fails, and uTP first from then on,
// until TCP comes through again.
func TestWhoWinsTheRaceIsRemembered(t *testing.T) {
	way, err := network.New(network.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var utp func() (net.Conn, error)
	dials := 0
	s := New(Config{
		Host: &testHost{}, Logger: slog.New(slog.DiscardHandler), PeerID: [20]byte{1},
		Shared: &Shared{
			Net: way, Dials: allot.NewTurns(1), DisableTrackers: true, Port: func() int { return 1 }, Encryption: transport.EncryptionOff,
			DialUTP: func(context.Context, netip.AddrPort) (net.Conn, error) { dials++; return utp() },
		},
	})
	s.Start()
	defer func() { <-s.Stop() }()
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(refused.Addr().String())
	refused.Close()
	c, _ := s.candidates.add(addr, netip.Addr{}, true)
	dial := func() {
		c.next = time.Time{}
		s.Dial(time.Now(), Need{Dials: 1})
		s.host.(*testHost).tasks.Wait()
	}
	if got := c.order(); got != (order{TCP, transport.RaceDelay}) {
		t.Errorf("a new one is tried by %+v", got)
	}
	// The peer of uTP answers the handshake; that the torrent refuses it, later, is no matter.
	utp = func() (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			if h, err := wire.ReadHandshake(theirs); err == nil {
				_ = wire.WriteHandshake(theirs, wire.Handshake{InfoHash: h.InfoHash})
			}
		}()
		return ours, nil
	}
	if dial(); dials != 1 || c.order() != (order{UTP, transport.RaceDelay}) {
		t.Errorf("after uTP came through (%d dials): %+v", dials, c.order())
	}
	utp = func() (net.Conn, error) { return nil, errors.New("no answer") }
	if dial(); dials != 2 || !c.byUTP {
		t.Errorf("after nothing came through (%d dials): %+v", dials, c.order())
	}
	// TCP comes through.
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		t.Skip("somebody else took the port")
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if h, err := wire.ReadHandshake(conn); err == nil {
			_ = wire.WriteHandshake(conn, wire.Handshake{InfoHash: h.InfoHash})
		}
	}()
	if dial(); dials != 3 || c.byUTP {
		t.Errorf("after TCP came through (%d dials): %+v", dials, c.order())
	}
	// TCP is accepted, and hung up on.
	go func() {
		if conn, err := l.Accept(); err == nil {
			conn.Close()
		}
	}()
	if dial(); dials != 3 || !c.byUTP {
		t.Errorf("after TCP was hung up on (%d dials): %+v", dials, c.order())
	}
	c.byUTP = false
	c.UTP = true // somebody says so
	if got := c.order(); got != (order{TCP, 0}) {
		t.Errorf("one that is said to speak uTP is tried by %+v", got)
	}
}

// TestNothingToDialBy: without TCP and uTP nobody is dialled, and neither the DHT nor the local network is
// told of us.
func TestNothingToDialBy(t *testing.T) {
	for _, test := range []struct {
		shared           Shared
		announces, dials int
	}{
		{Shared{}, 2, 1}, {Shared{DisableTCP: true}, 0, 0},
		{Shared{DisableTCP: true, DialUTP: func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, errors.New("no") }}, 2, 1},
	} {
		test.shared.DHT, test.shared.LSD, test.shared.DisableTrackers = &discovery.DHT{}, &discovery.LSD{}, true
		host := &startedHost{}
		s := New(Config{Host: host, Logger: slog.New(slog.DiscardHandler), PeerID: [20]byte{1}, Shared: &test.shared})
		s.Start()
		announces := host.started
		s.candidates.add(netip.MustParseAddrPort("203.0.113.1:1"), netip.Addr{}, true)
		s.Dial(time.Now(), Need{Dials: 1})
		dials := host.started - announces
		<-s.Stop()
		if announces != test.announces || dials != test.dials {
			t.Errorf("TCP off: %v, uTP on: %v: announced in %d ways, dialled %d; want %d, %d", test.shared.DisableTCP,
				test.shared.DialUTP != nil, announces, dials, test.announces, test.dials)
		}
	}
}

// unreachedHost counts the candidates that could not be reached.
type unreachedHost struct {
	testHost
	unreached atomic.Int32
}

func (h *unreachedHost) Unreached(*Swarm, netip.AddrPort) { h.unreached.Add(1) }

// TestADialIsSlowOnceItHasBegun: who waits for a turn to be dialled has not been silent.
func TestADialIsSlowOnceItHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		way, err := network.New(network.Config{})
		if err != nil {
			t.Fatal(err)
		}
		host, dials := &unreachedHost{}, allot.NewTurns(1)
		s := New(Config{
			Host: host, Logger: slog.New(slog.DiscardHandler), PeerID: [20]byte{1},
			Shared: &Shared{
				Net: way, Dials: dials, DisableTrackers: true, DisableTCP: true, Port: func() int { return 1 }, Encryption: transport.EncryptionOff,
				DialUTP: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				},
			},
		})
		s.Start()
		defer func() { <-s.Stop() }()
		s.candidates.add(netip.MustParseAddrPort("192.0.2.1:7"), netip.Addr{}, true)
		if err := dials.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Dial(time.Now(), Need{Dials: 1})
		time.Sleep(10 * slowDial)
		synctest.Wait()
		if n := host.unreached.Load(); n != 0 {
			t.Errorf("%d are not reached before they are dialled", n)
		}
		dials.Done()
		time.Sleep(slowDial + time.Millisecond)
		synctest.Wait()
		if n := host.unreached.Load(); n != 1 {
			t.Errorf("%d are not reached after %v of silence", n, slowDial)
		}
		host.tasks.Wait()
	})
}
