package utp

import (
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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

const rate = 12.5e6

func verbose() bool { return os.Getenv("UTP_TRACE") != "" }

func trace(t *testing.T, l *link, flows ...*flow) {
	if !verbose() {
		return
	}
	last := make([]int64, len(flows))
	began := time.Now()
	go func() {
		for range 300 {
			time.Sleep(200 * time.Millisecond)
			line := []any{time.Since(began).Round(time.Millisecond), l.worst().Round(time.Millisecond)}
			for i, f := range flows {
				g := f.got.Load()
				c := f.a.(*Conn)
				c.mu.Lock()
				if c.state == over {
					c.mu.Unlock()
					return
				}
				line = append(line, "|", (g-last[i])*5/1000, int(c.cc.cwnd)/1000, c.cc.queue.Round(time.Millisecond), c.cc.slow, c.cc.drain.on, int(c.cc.rate.value()/1000), c.cc.minRTT, int(c.cc.lossRate*1000), c.mtu.size)
				c.mu.Unlock()
				last[i] = g
			}
			t.Log(line...)
		}
	}()
}

func TestFillsThePath(t *testing.T) {
	for name, tt := range map[string]struct {
		rtt   time.Duration
		loss  float64
		queue time.Duration
		least float64
	}{
		"50 ms":                  {50 * time.Millisecond, 0, 200 * time.Millisecond, 0.92},
		"100 ms":                 {100 * time.Millisecond, 0, 200 * time.Millisecond, 0.88},
		"200 ms":                 {200 * time.Millisecond, 0, 200 * time.Millisecond, 0.80},
		"50 ms, 0.5 % loss":      {50 * time.Millisecond, 0.005, 200 * time.Millisecond, 0.40},
		"50 ms, 2 % loss":        {50 * time.Millisecond, 0.02, 200 * time.Millisecond, 0.40},
		"50 ms, queue of 20 ms":  {50 * time.Millisecond, 0, 20 * time.Millisecond, 0.80},
		"100 ms, queue of 10 ms": {100 * time.Millisecond, 0, 10 * time.Millisecond, 0.70},
		"1 ms, queue of 2 ms":    {1 * time.Millisecond, 0, 2 * time.Millisecond, 0.80},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim()
				ab := newLink(conditions{delay: tt.rtt / 2, rate: rate, queue: tt.queue, loss: tt.loss})
				ba := newLink(conditions{delay: tt.rtt / 2, rate: rate, queue: tt.queue, loss: tt.loss})
				f := s.start(t, 1, ab, ba)
				trace(t, ab, f)
				began := time.Now()
				time.Sleep(15 * time.Second)
				part := float64(f.got.Load()) / time.Since(began).Seconds() / rate
				t.Logf("%.1f %% of the path, queue at most %v, dropped %d of %d", 100*part, ab.maxWait, ab.dropped, ab.packets)
				if part < tt.least {
					t.Errorf("%.1f %% of the path, want %.0f %%", 100*part, 100*tt.least)
				}
				if ab.maxWait > 110*time.Millisecond {
					t.Errorf("packets queue for %v, want less than 110 ms", ab.maxWait)
				}
				f.a.Close()
				f.b.Close()
				s.close()
			})
		})
	}
}

var _ = io.EOF
