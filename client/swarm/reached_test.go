package swarm

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/allot"
	"github.com/causeway-bt/causeway/client/network"
	"github.com/causeway-bt/causeway/wire/transport"
)

// startedHost counts what it is to run, and runs nothing.
type startedHost struct {
	testHost
	started int
}

func (h *startedHost) Go(func()) bool { h.started++; return true }

// reachedHost counts the candidates that could not be reached.
type reachedHost struct {
	testHost
	unreached atomic.Int32
}

func (h *reachedHost) Unreached(*Swarm, netip.AddrPort) { h.unreached.Add(1) }

// TestWhoHangsUpWasReached: no hole is punched to who takes a connection and then no handshake.
func TestWhoHangsUpWasReached(t *testing.T) {
	way, err := network.New(network.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var utp func() (net.Conn, error)
	host := &reachedHost{}
	s := New(Config{
		Host: host, Logger: slog.New(slog.DiscardHandler), PeerID: [20]byte{1},
		Shared: &Shared{
			Net: way, Dials: allot.NewTurns(1), DisableTrackers: true, Port: func() int { return 1 },
			Encryption: transport.EncryptionRequire, DisableTCP: true,
			DialUTP: func(context.Context, netip.AddrPort) (net.Conn, error) { return utp() },
		},
	})
	s.Start()
	defer func() { <-s.Stop() }()
	c, _ := s.candidates.add(netip.MustParseAddrPort("203.0.113.1:1"), netip.Addr{}, true)
	dial := func() int32 {
		c.next = time.Time{}
		s.Dial(time.Now(), Need{Dials: 1})
		host.tasks.Wait()
		return host.unreached.Load()
	}
	utp = func() (net.Conn, error) {
		ours, theirs := net.Pipe()
		theirs.Close()
		return ours, nil
	}
	if n := dial(); n != 0 || c.outcome != hungUp {
		t.Errorf("who hung up was not reached %d times, and counts as %v", n, c.outcome)
	}
	utp = func() (net.Conn, error) { return nil, context.DeadlineExceeded }
	if n := dial(); n != 1 || c.outcome != silent {
		t.Errorf("who does not answer was not reached %d times, and counts as %v", n, c.outcome)
	}
}
