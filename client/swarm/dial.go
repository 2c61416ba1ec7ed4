package swarm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/causeway-bt/causeway/client/discovery"
	"github.com/causeway-bt/causeway/client/source"
	"github.com/causeway-bt/causeway/wire"
	"github.com/causeway-bt/causeway/wire/transport"
)

// Resolve looks up the names of peers, host:port each, and makes them candidates. It is
// for a goroutine of its own. byUser: the user named them, and may name any; else they
// are a stranger's word.
func (s *Swarm) Resolve(ctx context.Context, peers []string, byUser bool) {
	for _, peer := range peers {
		addrs, err := s.resolve(ctx, peer)
		if err != nil {
			s.host.Warn(fmt.Sprintf("the peer %s is left out: %v", strconv.Quote(peer), err))
			continue
		}
		s.host.Do(func() {
			for _, a := range addrs {
				if byUser {
					if c, added := s.candidates.add(a, netip.Addr{}, true); added {
						c.origin = given
					}
				} else if c := s.Add(netip.Addr{}, a); c != nil {
					c.Linked, c.origin = true, given
				} else if s.Candidate(a) == nil {
					s.host.Warn(fmt.Sprintf("the link names a peer inside of this network, %v, which is left out; --peer %v dials it", a, a))
				}
			}
			s.host.Wake()
		})
	}
}

func (s *Swarm) resolve(ctx context.Context, peer string) (addrs []netip.AddrPort, err error) {
	host, portText, err := net.SplitHostPort(peer)
	port, portErr := strconv.ParseUint(portText, 10, 16)
	if err != nil || portErr != nil {
		return nil, errors.New("host:port is wanted")
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := s.shared.Net.LookupNetIP(ctx, "ip", host)
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return addrs, err
}

// Need is what a torrent wants of its swarm at a moment.
type Need struct {
	// Dials is how many connections more are wanted.
	Dials int
	// Few: so few peers are there that trackers are asked for more; None: there are no
	// peers at all.
	Few, None bool
	// Complete: seeds are of no use.
	Complete bool
}

// level is how much the DHT is needed.
func (n Need) level() discovery.Level {
	switch {
	case n.Complete:
		return discovery.Idle
	case n.None:
		return discovery.Fresh
	}
	return discovery.Active
}

// Dial opens connections, and returns when to look again, zero if not because of
// candidates.
func (s *Swarm) Dial(now time.Time, need Need) (again time.Time) {
	if s.running == nil {
		return time.Time{}
	}
	s.dhtNeed.Set(need.level())
	if !s.shared.classic() {
		return time.Time{}
	}
	if need.Few && s.running.announcer != nil && !now.Before(s.wantMoreAt) {
		s.wantMoreAt = now.Add(wantMoreInterval)
		s.running.announcer.WantMore()
	}
	s.mayDial = min(s.mayDial+now.Sub(s.lastDial).Seconds()*dialsPerSecond, dialBurst)
	s.lastDial = now
	room := min(need.Dials, dialsAtOnce-s.dialling, int(s.mayDial))
	if room <= 0 {
		if s.mayDial < 1 {
			again = now.Add(time.Second / dialsPerSecond)
		}
		return again
	}
	list, again := s.candidates.ready(now, room, func(c *Candidate) bool {
		return (!need.Complete || !c.Seed) && !s.host.Banned(&source.Identity{Addr: c.Addr})
	})
	for _, c := range list {
		c.dialling = true
		s.dialling++
		s.mayDial--
		ctx, order := s.running.ctx, c.order()
		if !s.host.Go(func() { s.dial(ctx, c, order) }) {
			break
		}
	}
	return again
}

// Waiting reports whether there are candidates that could be dialled now.
func (s *Swarm) Waiting(now time.Time) bool {
	list, _ := s.candidates.ready(now, 1, func(*Candidate) bool { return true })
	return len(list) > 0
}

// dial tries one candidate.
func (s *Swarm) dial(ctx context.Context, c *Candidate, by order) {
	var conn Conn
	err := s.guard(func() (err error) {
		conn, err = s.connect(ctx, c, by)
		return err
	})
	kind, connected := conn.Kind, err == nil
	noHandshake := errors.Is(err, errNoHandshake)
	if err == nil {
		if err = s.host.Attach(ctx, conn); err != nil {
			conn.Close()
		}
	}
	s.host.Do(func() {
		s.dialling--
		c.outcome = outcomeOf(err)
		switch {
		case connected:
			c.byUTP = kind == UTP
		case noHandshake:
			c.byUTP = kind != UTP // the other one is first the next time
		}
		if err != nil {
			s.log.Debug("dial failed", "peer", c.Addr, "err", err)
			c.dialling = false
			c.failed(time.Now())
			if errors.Is(err, errUnreached) {
				s.unreached(c)
			}
		}
		s.host.Wake()
	})
}

// guard runs f, which handles what a stranger sends, and turns a panic into an error.
func (s *Swarm) guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("panic while connecting to a peer; please report this", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}

// errNoHandshake: a connection was made, and no handshake came over it.
var errNoHandshake = errors.New("no handshake")

// connect dials a peer, and exchanges handshakes with it. With errNoHandshake it tells the Kind.
func (s *Swarm) connect(ctx context.Context, c *Candidate, by order) (Conn, error) {
	if err := s.shared.Dials.Take(ctx); err != nil {
		return Conn{}, err
	}
	defer s.shared.Dials.Done()
	addr, made := c.Addr, false
	slow := time.AfterFunc(slowDial, func() { s.host.Do(func() { s.unreached(c) }) })
	defer slow.Stop()
	conn, err := transport.Dial(ctx, addr, s.cfg.InfoHash, transport.DialOptions{
		Encryption: s.shared.Encryption,
		Connect: func(ctx context.Context) (conn net.Conn, err error) {
			conn, by.first, err = s.race(ctx, addr, by)
			made = made || err == nil
			return conn, err
		},
	})
	slow.Stop()
	if err != nil {
		if made {
			return Conn{Kind: by.first}, fmt.Errorf("%w: %w", errNoHandshake, err)
		}
		return Conn{Kind: by.first}, fmt.Errorf("%w: %w", errUnreached, err)
	}
	theirs, err := s.greet(ctx, conn)
	if err != nil {
		conn.Close()
		return Conn{Kind: by.first}, fmt.Errorf("%w: %w", errNoHandshake, err)
	}
	return Conn{Conn: conn, Swarm: s, Kind: by.first, Addr: addr, Outgoing: true, Handshake: theirs}, nil
}

// utpTimeout bounds a connection attempt by uTP: three SYNs. Nobody tells that there is no uTP at an
// address, as TCP does, so those that lead nowhere must not hold others up for long.
const utpTimeout = 5 * time.Second

// order is how a peer is tried by TCP and uTP: one first, and the other after a delay.
type order struct {
	first Transport
	delay time.Duration
}

// order returns how to try a candidate: TCP first by a little, for it is cheaper, unless uTP came
// through last time.
func (c *Candidate) order() order {
	switch {
	case c.byUTP:
		return order{UTP, transport.RaceDelay}
	case c.UTP:
		return order{TCP, 0}
	}
	return order{TCP, transport.RaceDelay}
}

// race connects by what is switched on, and tells what came through.
func (s *Swarm) race(ctx context.Context, addr netip.AddrPort, by order) (net.Conn, Transport, error) {
	var kinds []Transport
	var ways []transport.Way
	if !s.shared.DisableTCP {
		kinds = append(kinds, TCP)
		ways = append(ways, func(ctx context.Context) (net.Conn, error) {
			return transport.DialTCP(ctx, addr, transport.DialOptions{Dialer: s.shared.Net})
		})
	}
	if s.shared.DialUTP != nil {
		kinds = append(kinds, UTP)
		ways = append(ways, func(ctx context.Context) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, utpTimeout)
			defer cancel()
			return s.shared.DialUTP(ctx, addr)
		})
	}
	if by.first == UTP {
		slices.Reverse(kinds)
		slices.Reverse(ways)
	}
	conn, winner, err := transport.Race(ctx, by.delay, ways...)
	if err != nil {
		return nil, by.first, err
	}
	return conn, kinds[winner], nil
}

// greet exchanges handshakes on a connection that we opened.
func (s *Swarm) greet(ctx context.Context, conn net.Conn) (theirs wire.Handshake, err error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if err := wire.WriteHandshake(conn, s.Handshake()); err != nil {
		return theirs, err
	}
	theirs, err = wire.ReadHandshake(conn)
	if err == nil && theirs.InfoHash != s.cfg.InfoHash {
		err = fmt.Errorf("it answered for the torrent %x", theirs.InfoHash)
	}
	return theirs, err
}

// Handshake is what peers of the swarm are greeted with. It may be called from any
// goroutine.
func (s *Swarm) Handshake() wire.Handshake {
	return wire.Handshake{Reserved: wire.OurReserved(s.shared.DHT != nil), InfoHash: s.cfg.InfoHash, PeerID: s.cfg.PeerID}
}
