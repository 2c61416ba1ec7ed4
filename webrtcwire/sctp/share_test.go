package sctp

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-bt/causeway/bench/simtcp"
)

// crossing is a line as a TCP flow uses it.
type crossing struct {
	*line
	path
}

func (c crossing) Pass(size int) (time.Time, bool) {
	_, sent, ok := c.book(time.Now(), time.Duration(float64(size+28)/c.rate*1e9), c.queue)
	return sent.Add(c.delay), ok
}

// TestBesideCubic has one connection share a path with one flow of TCP, whoever was there first:
// each gets between a quarter and three quarters of what both get.
func TestBesideCubic(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes long")
	}
	const rate, delay = 4e6, 25 * time.Millisecond
	for _, test := range []struct{ queue, ahead time.Duration }{
		{50 * time.Millisecond, -3 * time.Second}, {50 * time.Millisecond, 3 * time.Second}, {25 * time.Millisecond, 0}, {200 * time.Millisecond, 0},
	} {
		t.Run(fmt.Sprintf("queue of %v, ahead by %v", test.queue, test.ahead), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { besideCubic(t, path{rate: rate, delay: delay, queue: test.queue}, test.ahead) })
		})
	}
}

func besideCubic(t *testing.T, there path, ahead time.Duration) {
	there.line = &line{}
	a, _, opened, stop := link(t, there, path{delay: there.delay})
	defer stop()
	start := func() *simtcp.Cubic {
		return simtcp.StartCubic(crossing{there.line, there}, there.delay)
	}
	var tcp *simtcp.Cubic
	if ahead < 0 {
		tcp = start()
		time.Sleep(-ahead)
	}
	received := streaming(t, a, opened)
	if ahead >= 0 {
		time.Sleep(ahead)
		tcp = start()
	}
	defer tcp.Stop()
	time.Sleep(10 * time.Second)
	const watch = 30
	ours, theirs := received(), tcp.Received()
	time.Sleep(watch * time.Second)
	o, th := float64(received()-ours), float64(tcp.Received()-theirs)
	share := o / (o + th)
	t.Logf("ours %.2f MB/s, TCP %.2f MB/s, share %.2f", o/watch/1e6, th/watch/1e6, share)
	if share < 0.25 || share > 0.75 || o+th < 0.8*watch*there.rate {
		t.Error("want a share of 0.25 to 0.75, and four fifths of the path for both")
	}
}

// TestCutGrowsBack: as fast as CUBIC does beside others who queue (RFC 9438 section 4.2) or steadily, if that is
// faster, and by an eighth a round where nobody does.
func TestCutGrowsBack(t *testing.T) {
	const round = 100 * time.Millisecond
	for _, test := range []struct {
		peak   int
		queue  bool
		rounds int
	}{
		{400, true, 30},   // 120 packets at 4 a round
		{5000, true, 142}, // K is the cube root of 1500 packets / 0.4, 15.5 s; a packet below the peak it is there 1.4 s earlier
		{400, false, 4},   // 1/0.7 is less than 9/8 to the fourth
	} {
		var c cut
		c.begin(1, test.peak*packetSize, leastCwnd)
		if want := test.peak * packetSize * 7 / 10; c.ceiling < want-1 || c.ceiling > want {
			t.Errorf("cut to %d bytes, want %d", c.ceiling, want)
		}
		n := 0
		for ; c.ceiling < (test.peak-1)*packetSize; n++ {
			c.grow(int64(round), int64(round), test.queue)
		}
		if n < test.rounds-1 || n > test.rounds+1 {
			t.Errorf("at %d packets, others queue: %v: after %d rounds, want %d", test.peak, test.queue, n, test.rounds)
		}
	}
	const peak = 400
	// Who is cut below where it was cut before leaves room (section 4.7).
	var c cut
	c.begin(1, peak*packetSize, leastCwnd)
	c.begin(2, peak*packetSize/2, leastCwnd)
	if want := 0.85 * peak / 2; c.peak < want-1 || c.peak > want+1 {
		t.Errorf("after a second cut it heads for %.0f packets, want %.0f", c.peak, want)
	}
}

// TestTwoShare has one connection begin beside another that has the path for itself: within 10 s they share it.
func TestTwoShare(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes long")
	}
	const rate, delay = 6e6, 25 * time.Millisecond
	for _, behind := range []time.Duration{100 * time.Millisecond, 500 * time.Millisecond} {
		t.Run(fmt.Sprintf("behind by %v", behind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var shared line
				var received [2]func() int64
				for i := range received {
					a, _, opened, stop := link(t, path{rate: rate, delay: delay, queue: 2 * delay, line: &shared}, path{delay: delay})
					t.Cleanup(stop)
					received[i] = streaming(t, a, opened)
					time.Sleep(behind)
				}
				time.Sleep(10 * time.Second)
				x, y := received[0](), received[1]()
				time.Sleep(20 * time.Second)
				a, b := float64(received[0]()-x), float64(received[1]()-y)
				jain := (a + b) * (a + b) / 2 / (a*a + b*b)
				if t.Logf("%.2f and %.2f MB/s, Jain's index %.3f", a/20e6, b/20e6, jain); jain < 0.95 || a+b < 0.9*20*rate {
					t.Error("want 0.95, and nine tenths of the path")
				}
			})
		})
	}
}
