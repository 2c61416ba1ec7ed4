package sctp

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

func narrowed(n int) *whole {
	w := &whole{}
	w.most.Store(int32(n))
	return w
}

// Packets become as large as the path lets them be, of the usual sizes, and nothing that a path loses makes them larger.
func TestPacketsFitThePath(t *testing.T) {
	for _, test := range []struct {
		passes, want int // UDP payloads
		loss         float64
	}{
		{1500, 1469, 0}, {1472, 1469, 0}, {1468, 1449, 0}, {1452, 1449, 0}, {1400, 1369, 0}, {1372, 1369, 0},
		{1368, 1225, 0}, {1232, 1225, 0}, {1472, 1469, 0.02}, {1452, 1449, 0.02},
	} {
		path1 := path{rate: 2.5e6, delay: 25 * time.Millisecond, queue: 50 * time.Millisecond, loss: test.loss, whole: narrowed(test.passes)}
		transferred(t, path1, path{delay: path1.delay, loss: test.loss}, 6<<20)
		if got := path1.whole.passed.Load(); int(got) != test.want {
			t.Errorf("packets of %d bytes where %d pass, want %d", got, test.passes, test.want)
		}
	}
}

// Where a path has become narrower and says nothing of it, a pause is all that happens, whatever it does with the
// packets that are too large; later they become larger again.
func TestBlackHole(t *testing.T) {
	for name, tt := range map[string]struct{ small, told bool }{
		"bulk": {}, "small messages pass": {small: true}, "the system knows": {told: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				there := path{rate: 1.25e6, delay: 25 * time.Millisecond, queue: 50 * time.Millisecond, whole: narrowed(1472)}
				there.whole.told = tt.told
				a, _, opened, stop := link(t, there, path{delay: there.delay})
				t.Cleanup(stop)
				received := streaming(t, a, opened)
				if tt.small {
					time.Sleep(time.Second) // until the other channel is there
					c, err := a.Open("small")
					if err != nil {
						t.Fatal(err)
					}
					counter(opened)
					go func() {
						for pump(c, make([]byte, 20)) == nil {
							time.Sleep(20 * time.Millisecond)
						}
					}()
				}
				size := func() int { return int(there.whole.last.Load()) }
				time.Sleep(5 * time.Second)
				if size() != 1469 {
					t.Fatalf("packets of %d bytes at first", size())
				}
				there.whole.most.Store(1300)
				before := received()
				time.Sleep(5 * time.Second)
				if received() == before || size() != 1225 {
					t.Errorf("%d bytes came in 5 seconds, packets are of %d bytes", received()-before, size())
				}
				before = received()
				time.Sleep(10 * time.Second)
				if rate := float64(received()-before) / 10; rate < 0.8*there.rate || size() != 1225 {
					t.Errorf("%.2f MB/s after that, packets of %d bytes", rate/1e6, size())
				}
				there.whole.most.Store(1452)
				time.Sleep(holeAfter + 10*time.Second)
				if size() != 1449 {
					t.Errorf("packets of %d bytes a minute after it has become wider", size())
				}
				a.Moved() // to a way that takes less, as a relay does
				there.whole.most.Store(1300)
				before = received()
				time.Sleep(5 * time.Second)
				if received() == before || size() != 1225 {
					t.Errorf("another path: %d bytes came in 5 seconds, packets are of %d bytes", received()-before, size())
				}
			})
		})
	}
}

// Messages of which two make a packet that is too large come through as well.
func TestBlackHoleOfManyChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := path{rate: 1.25e6, delay: 25 * time.Millisecond, queue: 50 * time.Millisecond, whole: narrowed(1472)}
		a, _, opened, stop := link(t, there, path{delay: there.delay})
		t.Cleanup(stop)
		c, err := a.Open("test")
		if err != nil {
			t.Fatal(err)
		}
		received := counter(opened)
		go func() {
			for i := 0; pump(c, make([]byte, 600)) == nil; i++ {
				time.Sleep(time.Duration(i%2) * time.Millisecond)
			}
		}()
		time.Sleep(5 * time.Second)
		if there.whole.last.Load() <= 1232 {
			t.Fatalf("packets of %d bytes at first", there.whole.last.Load())
		}
		there.whole.most.Store(1232)
		time.Sleep(5 * time.Second)
		before := received.Load()
		time.Sleep(5 * time.Second)
		if received.Load() == before {
			t.Error("nothing comes any more")
		}
	})
}

// An answer to no probe of ours, or to an old one, says nothing of the path.
func TestForgedHeartbeatAck(t *testing.T) {
	a, _ := standing()
	defer a.Close()
	ack := func(info []byte) { a.Receive(packetTo(a.tag, appendChunk(nil, chunkHeartbeatAck, 0, info))) }
	zero := appendParam(nil, paramInfo, make([]byte, infoSize-paramHeader))
	ack(zero)
	ack(nil)
	a.path.probing = 1432
	old := appendParam(a.path.info[:0], paramInfo, []byte("a probe."))
	ack(zero)
	ack(old[:len(old)-1])
	ack(append(bytes.Clone(old), 0, 0, 0, 0))
	if a.path.size != packetSize {
		t.Errorf("packets of %d bytes", a.path.size)
	}
	old = bytes.Clone(old)
	if ack(old); a.path.size != 1432 {
		t.Errorf("packets of %d bytes after the answer to a probe", a.path.size)
	}
	a.path.begin(0)
	if ack(old); a.path.size != packetSize {
		t.Errorf("packets of %d bytes after an answer that came before", a.path.size)
	}
}
