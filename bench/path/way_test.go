package path

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// through sends n packets of 1,000 bytes, one each gap, and returns when each came out, by
// number, the numbers in the order in which they came, and the counters.
func through(c Config, n int, gap time.Duration) (came map[int]time.Duration, order []int, counted Counters) {
	var pool []*frame
	w := way{config: c, random: rand.New(rand.NewPCG(1, 2)), pool: &pool}
	came = map[int]time.Duration{}
	give := func(until time.Duration) {
		for due, ok := w.next(); ok && due <= until; due, ok = w.next() {
			w.give(due, func(b []byte) {
				number := int(binary.BigEndian.Uint32(b))
				came[number] = due
				order = append(order, number)
			})
		}
	}
	for i := range n {
		now := time.Duration(i) * gap
		give(now)
		f := &frame{n: linkHeader + 1000}
		binary.BigEndian.PutUint32(f.data[:], uint32(i))
		w.take(f, now)
	}
	give(math.MaxInt64)
	if len(pool) != n {
		panic("a frame was not given back")
	}
	return came, order, w.Counters
}

func TestWayTakesHalfARoundTrip(t *testing.T) {
	came, _, _ := through(Config{RTT: 50 * time.Millisecond}, 100, time.Millisecond)
	for i := range 100 {
		if want := time.Duration(i)*time.Millisecond + 25*time.Millisecond; came[i] != want {
			t.Fatalf("packet %d came after %v, want %v", i, came[i], want)
		}
	}
}

// Twice as many packets come as the rate allows: the queue fills, and then drops half.
func TestWayKeepsRateAndQueue(t *testing.T) {
	c := Config{Rate: 1e6, RTT: 20 * time.Millisecond, Queue: 100 * time.Millisecond}
	const n = 2000 // a second's worth and another, in one
	came, order, counted := through(c, n, time.Millisecond/2)
	if last := came[order[len(order)-1]]; last < time.Second || last > 1120*time.Millisecond {
		t.Errorf("the last came after %v", last)
	}
	if len(came) < 1090 || len(came) > 1110 { // a second's, and the queue's
		t.Errorf("%d came", len(came))
	}
	if counted.Dropped != int64(n-len(came)) || counted.Packets != int64(len(came)) || counted.Bytes != 1000*counted.Packets {
		t.Errorf("counted %+v", counted)
	}
	if counted.Queued < 99*time.Millisecond || counted.Queued > 100*time.Millisecond {
		t.Errorf("the longest wait was %v", counted.Queued)
	}
	mean := counted.Waited / time.Duration(counted.Packets)
	if mean < 85*time.Millisecond || mean > 100*time.Millisecond {
		t.Errorf("the mean wait was %v", mean)
	}
}

func TestWayQueueIsABandwidthDelayProductAndNeverTiny(t *testing.T) {
	for rtt, want := range map[time.Duration]time.Duration{200 * time.Millisecond: 200 * time.Millisecond, 0: 65536 * time.Microsecond} {
		_, _, counted := through(Config{Rate: 1e6, RTT: rtt}, 1000, 0)
		if counted.Queued > want || counted.Queued < want-time.Millisecond {
			t.Errorf("with a round trip of %v, the longest wait was %v", rtt, counted.Queued)
		}
	}
}

func TestWayLoses(t *testing.T) {
	const n = 20_000
	came, _, counted := through(Config{Loss: 0.01}, n, time.Microsecond)
	if counted.Lost < 150 || counted.Lost > 250 || len(came) != n-int(counted.Lost) {
		t.Errorf("%d came, counted %+v", len(came), counted)
	}
}

func TestWayReorders(t *testing.T) {
	c := Config{RTT: 50 * time.Millisecond, Reorder: 0.01, Late: 5 * time.Millisecond}
	came, order, counted := through(c, 10_000, time.Millisecond)
	late := 0
	for i := range 10_000 {
		switch extra := came[i] - time.Duration(i)*time.Millisecond - 25*time.Millisecond; extra {
		case 0:
		case 5 * time.Millisecond:
			late++
		default:
			t.Fatalf("packet %d came %v late", i, extra)
		}
	}
	overtaken := 0
	for i := 1; i < len(order); i++ {
		if order[i] < order[i-1] {
			overtaken++
		}
	}
	if late < 60 || late > 140 || counted.Late != int64(late) || overtaken < late/2 {
		t.Errorf("%d were late, %d overtaken, counted %+v", late, overtaken, counted)
	}
}

func TestWayJittersInOrder(t *testing.T) {
	came, order, _ := through(Config{RTT: 10 * time.Millisecond, Jitter: 4 * time.Millisecond}, 1000, 10*time.Millisecond)
	most := time.Duration(0)
	for i := range 1000 {
		extra := came[i] - time.Duration(i)*10*time.Millisecond - 5*time.Millisecond
		if extra < 0 || extra > 4*time.Millisecond || order[i] != i {
			t.Fatalf("packet %d came %v late as the %dth", order[i], extra, i)
		}
		most = max(most, extra)
	}
	if most < 3*time.Millisecond {
		t.Errorf("the most was %v", most)
	}
}

func TestWayIsBounded(t *testing.T) {
	_, _, counted := through(Config{RTT: time.Hour}, maxHeld+10, 0)
	if counted.Dropped != 10 {
		t.Errorf("counted %+v", counted)
	}
}
