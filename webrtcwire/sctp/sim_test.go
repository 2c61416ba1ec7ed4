package sctp

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// path is one direction of a simulated path, in the bubble's time: a rate, a delay, a queue, and
// losses and reordering from a seeded generator.
type path struct {
	rate    float64 // bytes per second; 0: none
	delay   time.Duration
	queue   time.Duration // that packets may wait for the rate; 0: any
	loss    float64
	reorder float64       // share that comes 5 ms later
	stall   time.Duration // of the receiver, twice a second; then its socket holds 50 packets
	mangle  func([]byte) []byte
	whole   *whole

	rng  *rand.Rand
	line *line // of its own, or shared
	to   *Association
	wait chan arrival

	sent, lost, full, held int
	worst                  time.Duration // in the queue
}

// whole is how large a packet may be that is not cut, as a UDP payload; nil: any.
type whole struct {
	most, last, passed atomic.Int32 // passed: the largest that did, but for probes
	told               bool         // of packets that are too large the sender's system is told, and cuts them
}

func (w *whole) passes(n int) bool {
	if w == nil {
		return true
	}
	if n > 1000 {
		w.last.Store(int32(n))
	}
	return int32(n) <= w.most.Load()
}

// line is what sends at the rate of a path.
type line struct {
	mu   sync.Mutex
	free time.Time // when all is sent
}

// book returns how long a packet waits for the line, and when it is sent; ok: there is room.
func (l *line) book(now time.Time, takes, queue time.Duration) (waits time.Duration, sent time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free.Before(now) {
		l.free = now
	}
	waits = l.free.Sub(now)
	if queue > 0 && waits > queue {
		return waits, now, false
	}
	l.free = l.free.Add(takes)
	return waits, l.free, true
}

type arrival struct {
	at time.Time
	b  []byte
}

func (p *path) Room() (int, int) { return 21, 16 }

func (p *path) Send(b []byte, size int) bool {
	fit := true
	for len(b) > 0 {
		n := min(size, len(b))
		if passes := p.whole.passes(n); passes || p.whole.told {
			if fit = fit && passes; fit && p.whole != nil {
				p.whole.passed.Store(max(p.whole.passed.Load(), int32(n)))
			}
			p.sendOne(bytes.Clone(b[21 : n-16]))
		}
		b = b[n:]
	}
	return fit
}

func (p *path) SendOne(b []byte, cut bool) bool {
	if cut {
		if len(b) > 1472 { // else it would not be
			p.sendOne(bytes.Clone(b[21 : len(b)-16]))
		}
		return true
	}
	if !p.whole.passes(len(b)) {
		return !p.whole.told
	}
	p.sendOne(bytes.Clone(b[21 : len(b)-16]))
	return true
}

func (p *path) sendOne(b []byte) {
	now := time.Now()
	p.sent++
	var takes time.Duration
	if p.rate > 0 {
		takes = time.Duration(float64(len(b)+65) / p.rate * 1e9)
	}
	waits, sent, ok := p.line.book(now, takes, p.queue)
	if !ok {
		p.full++
		return
	}
	p.worst = max(p.worst, waits)
	if p.rng.Float64() < p.loss {
		p.lost++
		return
	}
	at := sent.Add(p.delay)
	if p.rng.Float64() < p.reorder {
		time.AfterFunc(at.Add(5*time.Millisecond).Sub(now), func() { p.arrive([][]byte{b}) })
		return
	}
	if p.mangle != nil {
		b = p.mangle(b)
	}
	if p.stall > 0 {
		const period = 500 * time.Millisecond
		if until := p.stall - time.Duration(at.UnixNano())%period; until > 0 {
			at = at.Add(until)
			if p.held++; p.held > 50 {
				p.full++
				return
			}
		} else {
			p.held = 0
		}
	}
	p.wait <- arrival{at, b}
}

func (p *path) arrive(packets [][]byte) {
	for _, b := range packets {
		p.to.Receive(b)
	}
	p.to.Flush()
}

func (p *path) run() {
	for a := range p.wait {
		time.Sleep(time.Until(a.at))
		p.arrive([][]byte{a.b})
	}
}

// link joins two associations by a path there and one back.
func link(t *testing.T, there, back path) (a, b *Association, opened chan *Channel, stop func()) {
	t.Helper()
	paths := [2]*path{&there, &back}
	opened = make(chan *Channel, maxOpened)
	for i, p := range paths {
		p.rng = rand.New(rand.NewPCG(1, uint64(i)))
		p.wait = make(chan arrival, 1<<20)
		if p.line == nil {
			p.line = &line{}
		}
	}
	a = newAssociation(Config{Outlet: paths[0], Client: true})
	b = newAssociation(Config{Outlet: paths[1], Opened: func(c *Channel) { opened <- c }})
	there.to, back.to = b, a
	go there.run()
	go back.run()
	a.begin()
	b.begin()
	return a, b, opened, func() {
		check(t, a)
		check(t, b)
		a.Close()
		b.Close()
		time.Sleep(time.Minute)
		close(there.wait)
		close(back.wait)
	}
}

// pump writes size bytes.
func pump(c *Channel, data []byte) error {
	const message = 32 << 10
	for len(data) > 0 {
		n := min(len(data), message)
		ok, err := c.Write(data[:n])
		if err != nil {
			return err
		}
		if !ok {
			select {
			case <-c.Writable():
			case <-c.a.Done():
			}
			continue
		}
		data = data[n:]
	}
	return nil
}

func drain1(c *Channel, p []byte) (int, error) {
	for {
		n, err := c.Read(p)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-c.Readable():
		case <-c.a.Done():
		}
	}
}

// transferred measures how fast size bytes go, and checks them.
func transferred(t *testing.T, there, back path, size int) (rate float64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, _, opened, stop := link(t, there, back)
		t.Cleanup(stop) // once what follows has let a go
		c, err := a.Open("test")
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, size)
		rng := rand.NewChaCha8([32]byte{1})
		_, _ = rng.Read(data)
		start := time.Now()
		go func() {
			if err := pump(c, data); err != nil {
				t.Error(err)
			}
		}()
		d := <-opened
		got := make([]byte, 0, size)
		buffer := make([]byte, 64<<10)
		for len(got) < size {
			n, err := drain1(d, buffer)
			if err != nil {
				t.Fatalf("after %d bytes: %v", len(got), err)
			}
			got = append(got, buffer[:n]...)
		}
		took := time.Since(start)
		if !bytes.Equal(got, data) {
			t.Error("the bytes arrived changed")
		}
		rate = float64(size) / took.Seconds()
		a.mu.Lock()
		defer a.mu.Unlock()
		m := &a.model
		t.Logf("%.2f MB/s in %v; %d packets, %d for %d; model: %.2f MB/s, least rtt %v, srtt %v, window %d, ceiling %d", rate/1e6,
			took.Round(time.Millisecond), a.config.Outlet.(*path).sent, size/1160, size, m.rate()/1e6, time.Duration(m.minRTT), time.Duration(m.srtt), m.window(), m.cut.ceiling)
		t.Logf("lost %d, queue full %d, longest wait %v", a.config.Outlet.(*path).lost, a.config.Outlet.(*path).full, a.config.Outlet.(*path).worst.Round(time.Millisecond))
	})
	return rate
}

// streaming has a send to its peer without end, and returns what counts the bytes that have come.
func streaming(t *testing.T, a *Association, opened chan *Channel) (received func() int64) {
	t.Helper()
	c, err := a.Open("test")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		message := make([]byte, 1<<20)
		for pump(c, message) == nil {
		}
	}()
	return counter(opened).Load
}

func TestPaths(t *testing.T) {
	const fast, slow = 12.5e6, 2.5e6
	for _, test := range []struct {
		name string
		path path
		size int
		want float64 // share of the rate
	}{
		{"50 ms", path{rate: fast, delay: 25 * time.Millisecond, queue: 50 * time.Millisecond}, 8 << 20, 0.5},
		{"50 ms 0.5 %", path{rate: fast, delay: 25 * time.Millisecond, queue: 50 * time.Millisecond, loss: 0.005}, 8 << 20, 0.5},
		{"100 ms 1 %", path{rate: fast, delay: 50 * time.Millisecond, queue: 100 * time.Millisecond, loss: 0.01}, 10 << 20, 0.35},
		{"100 ms 2 %", path{rate: fast, delay: 50 * time.Millisecond, queue: 100 * time.Millisecond, loss: 0.02}, 10 << 20, 0.35},
		{"home router", path{rate: slow, delay: 15 * time.Millisecond, queue: time.Second}, 4 << 20, 0.8},
		{"reordering", path{rate: fast, delay: 25 * time.Millisecond, reorder: 0.01}, 8 << 20, 0.5},
		{"busy receiver", path{rate: fast, delay: 25 * time.Millisecond, queue: 50 * time.Millisecond, stall: 50 * time.Millisecond}, 8 << 20, 0.4},
		{"shallow queue", path{rate: fast, delay: 25 * time.Millisecond, queue: 5 * time.Millisecond}, 8 << 20, 0.4},
	} {
		t.Run(test.name, func(t *testing.T) {
			back := path{delay: test.path.delay, loss: test.path.loss}
			if got := transferred(t, test.path, back, test.size); got < test.want*test.path.rate {
				t.Errorf("%.2f MB/s, want %.2f of %.2f", got/1e6, test.want, test.path.rate/1e6)
			}
		})
	}
}

// TestConnectionsShareAPath has four begin one after the other on one path.
func TestConnectionsShareAPath(t *testing.T) {
	const flows, rate = 4, 2.5e6
	synctest.Test(t, func(t *testing.T) {
		var shared line
		var got [flows]func() int64
		for i := range flows {
			a, _, opened, stop := link(t,
				path{rate: rate, delay: 15 * time.Millisecond, queue: 60 * time.Millisecond, line: &shared}, path{delay: 15 * time.Millisecond})
			t.Cleanup(stop)
			got[i] = streaming(t, a, opened)
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Second)
		const watch = 10 * time.Second
		var before [flows]int64
		for i := range got {
			before[i] = got[i]()
		}
		time.Sleep(watch)
		var sum, squares float64
		for i := range got {
			n := float64(got[i]() - before[i])
			t.Logf("connection %d: %.2f MB/s", i, n/watch.Seconds()/1e6)
			sum += n
			squares += n * n
		}
		jain := sum * sum / flows / squares
		t.Logf("%.2f MB/s, Jain's index %.3f", sum/watch.Seconds()/1e6, jain)
		if jain < 0.9 || sum/watch.Seconds() < 0.8*rate {
			t.Error("want 0.9, and four fifths of the path")
		}
	})
}

func TestPeerThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := path{delay: time.Millisecond}
		a, b, opened, stop := link(t, p, p)
		defer stop()
		c, err := a.Open("test")
		if err != nil {
			t.Fatal(err)
		}
		d := <-opened
		if _, err := c.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		a.Close()
		buffer := make([]byte, 100)
		if n, err := drain1(d, buffer); err != nil || string(buffer[:n]) != "last words" {
			t.Errorf("read %q, %v", buffer[:n], err)
		}
		if _, err := drain1(d, buffer); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v", err)
		}
		if !errors.Is(b.Err(), ErrPeer) {
			t.Errorf("the other end: %v", b.Err())
		}
	})
}
