package relay

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxDatagram is the largest that is relayed: what a frame of Ethernet holds, and some.
const maxDatagram = 1600

// readErrorPause is how long a relay waits after an error that says nothing of the next read.
const readErrorPause = 10 * time.Millisecond

// relays are the ports that packets are relayed from. The world may know them under another
// address than the one that they are bound to, as behind a NAT.
type relays struct {
	mu     sync.RWMutex
	public map[netip.AddrPort]netip.AddrPort // to what is bound
	bound  map[netip.AddrPort]netip.AddrPort // to what is public
}

func newRelays() *relays {
	return &relays{public: map[netip.AddrPort]netip.AddrPort{}, bound: map[netip.AddrPort]netip.AddrPort{}}
}

func (r *relays) add(public, bound netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.public[public], r.bound[bound] = bound, public
}

func (r *relays) remove(public, bound netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.public, public)
	delete(r.bound, bound)
}

// has reports whether a relay has this address, its public or its bound one.
func (r *relays) has(a netip.AddrPort) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, public := r.public[a]
	_, bound := r.bound[a]
	return public || bound
}

// inside is the bound address of a relay's public one, and outside the other way round; of
// any other address, itself. Two clients that both are relayed meet without leaving the
// machine: many a NAT does not lead back inside.
func (r *relays) inside(a netip.AddrPort) netip.AddrPort  { return r.translate(r.public, a) }
func (r *relays) outside(a netip.AddrPort) netip.AddrPort { return r.translate(r.bound, a) }

func (r *relays) translate(to map[netip.AddrPort]netip.AddrPort, a netip.AddrPort) netip.AddrPort {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if other, ok := to[a]; ok {
		return other
	}
	return a
}

// allocation is the socket of a relayed port, as pion reads and writes it: held to the
// policy and the limits, packet by packet.
type allocation struct {
	net.PacketConn
	server        *Server
	public, bound netip.AddrPort
	user          *rate.Limiter
	end           *time.Timer
	release       func()
	closing       sync.Once
	closed        chan struct{}
	ending        sync.Once
	ended         func() // nobody reads it any more
}

// WriteTo sends a packet of the client's to a peer. What is refused or too much is dropped,
// as by any router.
func (a *allocation) WriteTo(b []byte, to net.Addr) (int, error) {
	peer := addrPort(to)
	if !a.server.policy.mayRelay(peer) {
		a.server.refused.Add(1)
		return len(b), nil
	}
	if !a.afford(len(b)) {
		return len(b), nil
	}
	if inside := a.server.relays.inside(peer); inside != peer {
		to = net.UDPAddrFromAddrPort(inside)
	}
	if _, err := a.PacketConn.WriteTo(b, to); err != nil {
		return len(b), nil // of one packet, to one peer
	}
	a.server.relayed.Add(uint64(len(b)))
	return len(b), nil
}

// ReadFrom receives a packet of a peer's for the client.
func (a *allocation) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := a.PacketConn.ReadFrom(b)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) && a.pause() {
				continue // Windows reports what became of an earlier packet
			}
			a.ending.Do(a.ended)
			return n, from, err
		}
		peer := addrPort(from)
		if outside := a.server.relays.outside(peer); outside != peer {
			peer, from = outside, net.UDPAddrFromAddrPort(outside)
		}
		if !a.server.policy.mayRelay(peer) {
			a.server.refused.Add(1)
			continue
		}
		if a.afford(n) {
			a.server.relayed.Add(uint64(n))
			return n, from, nil
		}
	}
}

// afford takes n bytes from the limits of the user and of all.
func (a *allocation) afford(n int) bool {
	now := time.Now()
	if a.user.AllowN(now, n) && a.server.rate.AllowN(now, n) {
		return true
	}
	a.server.dropped.Add(1)
	return false
}

// pause keeps a socket that fails again and again from spinning; false: it was closed.
func (a *allocation) pause() bool {
	select {
	case <-a.closed:
		return false
	case <-time.After(readErrorPause):
		return true
	}
}

// Close gives the port back.
func (a *allocation) Close() error {
	a.closing.Do(func() {
		close(a.closed)
		a.end.Stop()
		a.server.relays.remove(a.public, a.bound)
		_ = a.PacketConn.Close() // nothing is lost with it
		a.release()
	})
	return nil
}

func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.UDPAddr:
		p := a.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	case *net.TCPAddr:
		p := a.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}
