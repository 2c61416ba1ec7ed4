package utp

import (
	"container/heap"
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A simulated network, for use in a bubble of testing/synctest: its clock is virtual.

// link is one direction of a path, which flows may share.
type link struct {
	conditions
	rng *rand.Rand

	mu      sync.Mutex
	free    time.Time // when it can take the next packet
	longest time.Duration
	waited  time.Duration
	packets int
}

type conditions struct {
	rate    float64       // bytes/s, 0: no limit
	delay   time.Duration // of an empty link
	queue   time.Duration // how long a packet may wait, at the rate
	loss    float64       // part of packets
	dup     float64
	reorder float64 // part of packets that take reorderBy longer
	mtu     int     // larger packets are lost, but for those that may be cut; 0: no limit
}

const headers = 28 // of IP and UDP

// narrow has the link take packets of mtu bytes from now on.
func (l *link) narrow(mtu int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mtu = mtu
}

// pass returns when a packet that is sent now, in fragments if need be, arrives, or nothing if it is lost.
func (l *link) pass(size int, fragments bool) (arrivals []time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.mtu > 0 && size > l.mtu && !fragments || l.rng.Float64() < l.loss {
		return nil
	}
	wait := max(l.free.Sub(now), 0)
	if l.rate > 0 {
		if wait > l.queue {
			return nil
		}
		l.free = now.Add(wait + time.Duration(float64(size+headers)/l.rate*float64(time.Second)))
		l.longest = max(l.longest, wait)
		l.waited += wait
		l.packets++
		wait = l.free.Sub(now)
	}
	at := now.Add(wait + l.delay)
	if l.rng.Float64() < l.reorder {
		at = at.Add(l.delay / 4)
	}
	if l.rng.Float64() < l.dup {
		arrivals = append(arrivals, at)
	}
	return append(arrivals, at)
}

// waits returns for how long packets waited: at most, and on average.
func (l *link) waits() (longest, mean time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.longest, l.waited / time.Duration(max(l.packets, 1))
}

// sim delivers packets.
type sim struct {
	mu     sync.Mutex
	events events
	wake   chan struct{}
	done   chan struct{}
	ended  chan struct{}
	nodes  map[netip.AddrPort]*node
	seq    int
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return x
}

func newSim() *sim {
	s := &sim{wake: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{}), nodes: map[netip.AddrPort]*node{}}
	go s.run()
	return s
}

func (s *sim) at(at time.Time, do func()) {
	s.mu.Lock()
	s.seq++
	heap.Push(&s.events, event{at, s.seq, do})
	first := s.events[0].seq == s.seq
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *sim) run() {
	defer close(s.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.mu.Lock()
		wait := time.Hour
		var do func()
		if len(s.events) > 0 {
			if wait = time.Until(s.events[0].at); wait <= 0 {
				do = heap.Pop(&s.events).(event).do
			}
		}
		s.mu.Unlock()
		if do != nil {
			do()
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.done:
			return
		}
	}
}

func (s *sim) close() {
	for _, n := range s.nodes {
		n.Socket.Close()
	}
	close(s.done)
	<-s.ended
}

// node is a machine with one UDP socket.
type node struct {
	*Socket
	sim  *sim
	addr netip.AddrPort
	out  *link
	tap  atomic.Pointer[func(b []byte, to netip.AddrPort) bool] // false: the packet is lost
	mu   sync.Mutex                                             // held to deliver
}

func (s *sim) node(addr string, out *link, cfg Config) *node {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(loud{slog.DiscardHandler})
	}
	n := &node{sim: s, addr: netip.MustParseAddrPort(addr), out: out}
	s.mu.Lock()
	s.nodes[n.addr] = n
	s.mu.Unlock()
	n.Socket = New(n, cfg)
	return n
}

// loud is a log that nothing may be written to: it would be of a panic that was contained.
type loud struct{ slog.Handler }

func (loud) Enabled(context.Context, slog.Level) bool { return true }

func (loud) Handle(_ context.Context, r slog.Record) error { panic(r.Message) }

func (n *node) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(n.addr) }

func (n *node) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if tap := n.tap.Load(); tap != nil && !(*tap)(b, to) {
		return len(b), nil
	}
	n.sim.send(n.out, b, n.addr, to, false)
	return len(b), nil
}

// WriteFragmentable implements Fragmenter, as Linux does where interfaces take 1500 bytes.
func (n *node) WriteFragmentable(b []byte, to netip.AddrPort) (int, error) {
	if tap := n.tap.Load(); tap != nil && !(*tap)(b, to) {
		return len(b), nil
	}
	n.sim.send(n.out, b, n.addr, to, n.addr.Addr().Is4() || len(b) > ethernet6)
	return len(b), nil
}

// watch has f see all that n sends.
func (n *node) watch(f func(b []byte, to netip.AddrPort) bool) { n.tap.Store(&f) }

// count returns how many connections n has.
func (n *node) count() int {
	n.Socket.mu.RLock()
	defer n.Socket.mu.RUnlock()
	return len(n.conns)
}

// WriteWhole implements Wholer: nothing is cut here.
func (n *node) WriteWhole(b []byte, to netip.AddrPort) (int, error) {
	return n.WriteToUDPAddrPort(b, to)
}

func (s *sim) send(l *link, b []byte, from, to netip.AddrPort, fragments bool) {
	for _, at := range l.pass(len(b), fragments) {
		p := append([]byte(nil), b...)
		s.at(at, func() { s.arrive(p, from, to) })
	}
}

func (s *sim) arrive(p []byte, from, to netip.AddrPort) {
	s.mu.Lock()
	n := s.nodes[to]
	s.mu.Unlock()
	if n != nil {
		n.mu.Lock()
		n.Deliver(p, from, time.Now())
		n.Flush()
		n.mu.Unlock()
	}
}

func newLink(c conditions) *link {
	return &link{conditions: c, rng: rand.New(rand.NewPCG(1, 2))}
}
