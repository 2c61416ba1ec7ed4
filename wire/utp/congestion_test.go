package utp

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-bt/causeway/bench/simtcp"
)

// flow is an endless transfer from a to b.
type flow struct {
	a, b net.Conn
	got  atomic.Int64
}

func (f *flow) run() {
	go func() {
		block := make([]byte, 64<<10)
		for {
			if _, err := f.a.Write(block); err != nil {
				return
			}
		}
	}()
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := f.b.Read(b)
			f.got.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
}

// start begins a transfer between nodes of its own.
func (s *sim) start(t *testing.T, i byte, ab, ba *link) *flow {
	t.Helper()
	a := s.node(net.JoinHostPort("192.0.2."+string('0'+rune(i)), "1000"), ab, Config{})
	b := s.node(net.JoinHostPort("198.51.100."+string('0'+rune(i)), "1000"), ba, Config{})
	f := &flow{}
	f.a, f.b = connect(t, a, b)
	f.run()
	return f
}

// rate is that of the paths, bytes/s.
const rate = 12.5e6 / slower

func TestFillsThePath(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rtt   time.Duration
		loss  float64
		queue time.Duration
		least float64
	}{
		"50 ms":                  {50 * time.Millisecond, 0, 200 * time.Millisecond, 0.92},
		"100 ms":                 {100 * time.Millisecond, 0, 200 * time.Millisecond, 0.88},
		"50 ms, 0.5 % loss":      {50 * time.Millisecond, 0.005, 200 * time.Millisecond, 0.40},
		"100 ms, queue of 10 ms": {100 * time.Millisecond, 0, 10 * time.Millisecond, 0.70},
		"1 ms, queue of 2 ms":    {1 * time.Millisecond, 0, 2 * time.Millisecond, 0.80},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim()
				ab := newLink(conditions{delay: tt.rtt / 2, rate: rate, queue: tt.queue, loss: tt.loss})
				ba := newLink(conditions{delay: tt.rtt / 2, rate: rate, queue: tt.queue, loss: tt.loss})
				f := s.start(t, 1, ab, ba)
				began := time.Now()
				time.Sleep(10 * time.Second)
				part := float64(f.got.Load()) / time.Since(began).Seconds() / rate
				longest, mean := ab.waits()
				t.Logf("%.1f %% of the path, queue at most %v, %v on average", 100*part, longest, mean)
				if part < tt.least {
					t.Errorf("%.1f %% of the path, want %.0f %%", 100*part, 100*tt.least)
				}
				if longest > 110*time.Millisecond {
					t.Errorf("packets queue for %v, want less than 110 ms", longest)
				}
				f.a.Close()
				f.b.Close()
				s.close()
			})
		})
	}
}

// A drain does not bring back what a loss has cut meanwhile.
func TestLossDuringDrain(t *testing.T) {
	const saved = 1e6
	var c control
	c.init(firstPacket)
	c.slow, c.minRTT, c.rate.now = false, 50*time.Millisecond, 10e6
	c.cwnd = drainPart * c.content()
	c.drain.on, c.drain.saved, c.drain.end = true, saved, time.Second
	c.onLoss(100e3, 1, firstPacket)
	if !c.drain.on {
		t.Error("the drain has ended")
	}
	c.onAck(ackInfo{now: time.Second, delivered: 2, mss: firstPacket})
	if want := float64(saved * lossCut * drainBack); c.drain.on || c.cwnd < 0.99*want || c.cwnd > 1.01*want {
		t.Errorf("after a drain and a cut of %v the window is %.0f of %.0f, want %.0f", lossCut, c.cwnd, saved, want)
	}
}

// Pass is of [simtcp.Link].
func (l *link) Pass(size int) (arrives time.Time, ok bool) {
	if at := l.pass(size, false); len(at) > 0 {
		return at[0], true
	}
	return arrives, false
}

func TestYieldsToTCP(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		before, after time.Duration // how long uTP runs when TCP begins, and TCP when uTP begins
	}{"uTP first": {before: 5 * time.Second}, "TCP first": {after: 5 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim()
				path := conditions{delay: 25 * time.Millisecond, rate: rate, queue: 200 * time.Millisecond}
				ab, ba := newLink(path), newLink(path)
				var tcp *simtcp.Cubic
				if tt.before == 0 {
					tcp = simtcp.StartCubic(ab, ba.delay)
				}
				time.Sleep(tt.after)
				f := s.start(t, 1, ab, ba)
				time.Sleep(tt.before)
				if tcp == nil {
					tcp = simtcp.StartCubic(ab, ba.delay)
				}
				time.Sleep(5 * time.Second)
				ours, theirs := f.got.Load(), tcp.Received()
				began := time.Now()
				time.Sleep(25 * time.Second)
				span := time.Since(began).Seconds()
				part := float64(tcp.Received()-theirs) / span / rate
				_, queue := ab.waits()
				t.Logf("TCP has %.1f %%, uTP %.1f %%, queue %v", 100*part, 100*float64(f.got.Load()-ours)/span/rate, queue)
				if part < 0.80 {
					t.Errorf("TCP has %.1f %%, want 80 %%", 100*part)
				}
				tcp.Stop()
				f.a.Close()
				f.b.Close()
				s.close()
			})
		})
	}
}

// shared is the rate of a path for two, bytes/s.
const shared = 12.5e6 / 8

func TestSharesWithUTP(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]time.Duration{"together": 0, "one later": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim()
				path := conditions{delay: 25 * time.Millisecond, rate: shared, queue: 400 * time.Millisecond}
				ab, ba := newLink(path), newLink(path)
				f := s.start(t, 1, ab, ba)
				time.Sleep(later)
				g := s.start(t, 2, ab, ba)
				time.Sleep(10 * time.Second)
				was := [2]int64{f.got.Load(), g.got.Load()}
				const span = 12
				time.Sleep(span * time.Second)
				x, y := float64(f.got.Load()-was[0])/span/shared, float64(g.got.Load()-was[1])/span/shared
				_, queue := ab.waits()
				t.Logf("%.1f %% and %.1f %%, queue %v", 100*x, 100*y, queue)
				if min(x, y) < 0.3 || x+y < 0.85 {
					t.Errorf("they have %.1f %% and %.1f %%, want at least 30 %% each", 100*x, 100*y)
				}
				f.a.Close()
				f.b.Close()
				g.a.Close()
				g.b.Close()
				s.close()
			})
		})
	}
}
