// Package relay puts a slow, long link between two programs on one machine: a TCP
// relay on loopback that carries at most so many bytes per second each way and
// delivers each of them half a round trip later.
//
// It paces by schedule rather than by tokens: every chunk gets a time of departure
// that follows from the bytes before it, so late wake-ups cost no throughput. In
// front of the link stands a queue as deep as one bandwidth-delay product, as in a
// well-set router; when it is full, the sender is not read from. It drops nothing:
// below TCP nothing can be seen of loss.
//
//	r, err := relay.Listen(seeder, relay.Config{Rate: 12_500_000, RTT: 100 * time.Millisecond})
//	defer r.Close()
//	... download from r.Addr() ...
package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// chunk is the most that is read and delivered at once; small against what
	// passes in a millisecond at the rates in use, so that pacing stays smooth.
	chunk = 8 << 10
	// maxInFlight bounds the chunks of one direction that are on their way.
	maxInFlight = 4096
	// socketBuffer bounds what the kernel holds of a sender's bytes before the
	// queue; its automatic size, megabytes, would be a second and hidden queue.
	socketBuffer = 64 << 10
	// minQueue keeps a link of short delay from starving.
	minQueue = 64 << 10
	// FirstBlock is how many bytes must have been delivered for a Flow to have
	// begun: a block, so that the handshake does not count.
	FirstBlock = 16 << 10
)

// Config describes the link.
type Config struct {
	Rate int64         // bytes per second each way; 0: no cap
	RTT  time.Duration // round trip that the link adds

	Listener net.Listener // of TCP, which the Relay owns from Listen on; nil: on a free loopback port
}

// Flow is what went through one direction, all connections together.
type Flow struct {
	Bytes int64     // delivered
	Begun time.Time // when FirstBlock bytes had been delivered; zero before
}

// Relay listens on loopback and connects each caller to its target.
type Relay struct {
	target   string
	listener net.Listener
	up, down link // towards the target, and from it

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed chan struct{}
	wg     sync.WaitGroup
}

// Listen starts a relay to the HOST:PORT target.
func Listen(target string, c Config) (*Relay, error) {
	l := c.Listener
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("start a relay to %s: %w", target, err)
		}
	}
	r := &Relay{
		target: target, listener: l,
		conns: map[net.Conn]struct{}{}, closed: make(chan struct{}),
	}
	for _, k := range []*link{&r.up, &r.down} {
		k.rate, k.delay = c.Rate, c.RTT/2
		if c.Rate > 0 {
			queue := max(minQueue, int64(c.RTT.Seconds()*float64(c.Rate)))
			k.queue = time.Duration(float64(queue) / float64(c.Rate) * float64(time.Second))
		}
	}
	r.wg.Add(1)
	go r.accept()
	return r, nil
}

// Addr returns the HOST:PORT to connect to instead of the target.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Up returns what went from the callers to the target.
func (r *Relay) Up() Flow { return r.up.flow() }

// Down returns what went from the target to the callers.
func (r *Relay) Down() Flow { return r.down.flow() }

// Close cuts all connections and waits for them to be gone.
func (r *Relay) Close() error {
	r.mu.Lock()
	select {
	case <-r.closed:
	default:
		close(r.closed)
	}
	for c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	err := r.listener.Close()
	r.wg.Wait()
	return err
}

func (r *Relay) accept() {
	defer r.wg.Done()
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.wg.Add(1)
		go r.serve(c.(*net.TCPConn))
	}
}

// track registers a connection for Close; false if it came too late.
func (r *Relay) track(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.closed:
		return false
	default:
		r.conns[c] = struct{}{}
		return true
	}
}

func (r *Relay) forget(c net.Conn) {
	c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

func (r *Relay) serve(a *net.TCPConn) {
	defer r.wg.Done()
	defer r.forget(a)
	conn, err := net.Dial("tcp", r.target)
	if err != nil {
		return // the caller sees its connection close, as through a real router
	}
	b := conn.(*net.TCPConn)
	defer r.forget(b)
	if !r.track(a) || !r.track(b) {
		return
	}
	for _, c := range []*net.TCPConn{a, b} {
		_ = c.SetReadBuffer(socketBuffer) // best effort: the kernel's default also works, with more queue
	}
	var both sync.WaitGroup
	both.Go(func() { r.carry(b, a, &r.up) })
	both.Go(func() { r.carry(a, b, &r.down) })
	both.Wait()
}

// carry moves bytes from src to dst over a link until either fails.
func (r *Relay) carry(dst, src *net.TCPConn, k *link) {
	type parcel struct {
		data []byte
		due  time.Time
	}
	way := make(chan parcel, maxInFlight)
	var delivery sync.WaitGroup
	delivery.Go(func() {
		for p := range way {
			if !r.sleepUntil(p.due) {
				continue // drain, so that the reader below is never stuck
			}
			if _, err := dst.Write(p.data); err != nil {
				src.Close()
				continue
			}
			k.delivered(len(p.data))
		}
		_ = dst.CloseWrite() // fails only if dst is gone, which is what we want
	})
	defer delivery.Wait()
	defer close(way)
	buf := make([]byte, chunk)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			departure := k.depart(n)
			way <- parcel{append([]byte(nil), buf[:n]...), departure.Add(k.delay)}
			if !r.sleepUntil(departure.Add(-k.queue)) {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				dst.Close()
			}
			return
		}
	}
}

// sleepUntil returns false if the relay was closed meanwhile.
func (r *Relay) sleepUntil(t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.closed:
		return false
	}
}

// link is one direction of the path, shared by all connections.
type link struct {
	rate  int64
	delay time.Duration // one way
	queue time.Duration // how far ahead of departure bytes may arrive

	mu   sync.Mutex
	free time.Time // when the link has sent all that it has taken
	seen Flow
}

// depart books the link for n bytes and returns when the last of them leaves.
func (k *link) depart(n int) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); k.free.Before(now) {
		k.free = now
	}
	if k.rate > 0 {
		k.free = k.free.Add(time.Duration(float64(n) / float64(k.rate) * float64(time.Second)))
	}
	return k.free
}

func (k *link) delivered(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen.Bytes += int64(n)
	if k.seen.Begun.IsZero() && k.seen.Bytes >= FirstBlock {
		k.seen.Begun = time.Now()
	}
}

func (k *link) flow() Flow {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seen
}
