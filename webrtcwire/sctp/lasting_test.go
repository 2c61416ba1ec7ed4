package sctp

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// dropper loses packets of a path as a test says; to be its mangle.
type dropper struct {
	drop atomic.Pointer[func(b []byte) bool]
}

func (d *dropper) mangle(b []byte) []byte {
	if drop := d.drop.Load(); drop != nil && (*drop)(b) {
		return nil // too short for a packet
	}
	return b
}

func (d *dropper) set(drop func(b []byte) bool) { d.drop.Store(&drop) }

// counter reads a channel to its end and counts.
func counter(opened chan *Channel) *atomic.Int64 {
	var got atomic.Int64
	go func() {
		d, buffer := <-opened, make([]byte, 64<<10)
		for {
			n, err := drain1(d, buffer)
			if err != nil {
				return
			}
			got.Add(int64(n))
		}
	}()
	return &got
}

// TestIdleSurvivesALoss: that nothing was said for long does not make a peer dead when the next packet
// is lost.
func TestIdleSurvivesALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var there dropper
		a, _, opened, stop := link(t, path{delay: 100 * time.Millisecond, mangle: there.mangle}, path{delay: 100 * time.Millisecond})
		t.Cleanup(stop)
		c, err := a.Open("test")
		if err != nil {
			t.Fatal(err)
		}
		got := counter(opened)
		time.Sleep(10 * deadAfter)
		until := time.Now().Add(3 * time.Second)
		there.set(func([]byte) bool { return time.Now().Before(until) })
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		if got.Load() != 5 || a.Err() != nil {
			t.Errorf("%d bytes came; %v", got.Load(), a.Err())
		}
	})
}

func TestDeadPathEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var there dropper
		a, _, opened, stop := link(t, path{delay: 10 * time.Millisecond, mangle: there.mangle}, path{delay: 10 * time.Millisecond})
		t.Cleanup(stop)
		c, err := a.Open("test")
		if err != nil {
			t.Fatal(err)
		}
		counter(opened)
		time.Sleep(time.Second)
		there.set(func([]byte) bool { return true })
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(deadAfter - 5*time.Second)
		if a.Err() != nil {
			t.Errorf("too early: %v", a.Err())
		}
		time.Sleep(15 * time.Second)
		if !errors.Is(a.Err(), ErrDead) {
			t.Errorf("after that: %v", a.Err())
		}
	})
}

// TestMissingChunkFits: what waits for a chunk does not keep it out, though the window has become
// small since, because others hold so much.
func TestMissingChunkFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var there dropper
		a, b, opened, stop := link(t, path{rate: 12.5e6, delay: 5 * time.Millisecond, mangle: there.mangle}, path{delay: 5 * time.Millisecond})
		t.Cleanup(stop)
		c, err := a.Open("test")
		if err != nil {
			t.Fatal(err)
		}
		got := counter(opened)
		const size = 4 << 20
		go func() { _ = pump(c, make([]byte, size)) }() // or the count is too low
		time.Sleep(100 * time.Millisecond)
		b.mu.Lock()
		missing := b.in.next + 500 // not under way yet
		b.mu.Unlock()
		there.set(func(b []byte) bool {
			return len(b) > 20 && b[12] == chunkData && binary.BigEndian.Uint32(b[16:]) == missing
		})
		time.Sleep(time.Second)
		b.mu.Lock()
		waiting := b.in.waiting
		b.mu.Unlock()
		if waiting < leastWindow {
			t.Fatalf("%d bytes wait", waiting)
		}
		held.Add(heldByAll)
		defer held.Add(-heldByAll)
		there.set(func([]byte) bool { return false })
		time.Sleep(20 * time.Second)
		if got.Load() != size {
			t.Errorf("%d bytes of %d came", got.Load(), size)
		}
	})
}

// TestBothWays: what is sent does not wait behind the acknowledgements of what comes.
func TestBothWays(t *testing.T) {
	const rate, watch = 12.5e6, 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		p := path{rate: rate, delay: 25 * time.Millisecond, queue: 50 * time.Millisecond, loss: 0.01}
		a, b, fromA, stop := link(t, p, p)
		t.Cleanup(stop)
		fromB := make(chan *Channel, 1)
		a.config.Opened = func(c *Channel) { fromB <- c }
		there, back := counter(fromA), counter(fromB)
		for _, end := range []*Association{a, b} {
			c, err := end.Open("test")
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = pump(c, make([]byte, 1<<30)) }() // until it is closed
		}
		time.Sleep(watch)
		for _, got := range []*atomic.Int64{there, back} {
			if n := float64(got.Load()) / watch.Seconds(); n < 0.7*rate {
				t.Errorf("%.2f MB/s of %.2f", n/1e6, rate/1e6)
			} else {
				t.Logf("%.2f MB/s", n/1e6)
			}
		}
	})
}

// TestLostChunkIsRepeatedBesideASack, in a packet of its own where both do not fit in one.
func TestLostChunkIsRepeatedBesideASack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := path{delay: 10 * time.Millisecond}
		a, _, opened, stop := link(t, p, p)
		t.Cleanup(stop)
		c, err := a.Open("test")
		if err != nil {
			t.Fatal(err)
		}
		counter(opened)
		time.Sleep(time.Second)
		if ok, err := c.Write(make([]byte, packetSize-headerSize-dataHeader)); !ok || err != nil {
			t.Fatal(ok, err)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.out.pending.n != 1 {
			t.Fatalf("%d packets are under way", a.out.pending.n)
		}
		a.lose(a.now(), a.out.pending.head)
		a.in.packets = ackEvery
		a.flush()
		if a.in.packets != 0 || a.out.lost.n != 0 {
			t.Errorf("%d packets are not acknowledged, and %d lost ones not repeated", a.in.packets, a.out.lost.n)
		}
	})
}

// TestOwnWindowIsShared among the peers of this machine that are programs like this.
func TestOwnWindowIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []*Association
		for range 30 {
			all = append(all, New(Config{Outlet: &void{}, Near: OwnWindow}))
		}
		if window := all[0].model.window(); window != ShortWindow {
			t.Errorf("%d bytes for one of thirty", window)
		}
		for _, a := range all[1:] {
			a.Close()
			a.Close()
		}
		if window := all[0].model.window(); window != OwnWindow {
			t.Errorf("%d bytes for the last", window)
		}
		all[0].Close()
		if n := owns.Load(); n != 0 {
			t.Errorf("%d are counted at the end", n)
		}
	})
}
