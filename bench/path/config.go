package path

import (
	"fmt"
	"time"
)

// Config describes both directions of a path.
type Config struct {
	Rate float64       // bytes of IP packets per second; 0: no cap
	RTT  time.Duration // round trip that the path adds, half of it each way
	Loss float64       // share of packets that are lost at random, each way

	// Queue is how long a packet waits at most for those before it; one that would wait
	// longer is dropped. 0: a round trip, and at least what 64 KiB take.
	Queue time.Duration

	Jitter time.Duration // each packet takes up to so much longer, at random; they keep their order

	Reorder float64       // share of packets, at random, that others overtake
	Late    time.Duration // by which those are delayed

	// Back is the way from B to A where that differs; its RTT, too, counts half.
	Back *Config
}

// minQueue is what the queue holds at least, in bytes: a link of short delay would starve
// behind one of a bandwidth-delay product.
const minQueue = 64 << 10

// FirstBlock is how many bytes must have come one way for content to have begun: handshakes
// are shorter.
const FirstBlock = 16 << 10

func (c Config) queue() time.Duration {
	if c.Rate == 0 {
		return 0
	}
	if c.Queue > 0 {
		return c.Queue
	}
	return max(c.RTT, time.Duration(minQueue/c.Rate*float64(time.Second)))
}

func (c Config) check() error {
	if c.Back != nil {
		if c.Back.Back != nil {
			return fmt.Errorf("a path has two ways, not three")
		}
		if err := c.Back.check(); err != nil {
			return err
		}
	}
	share := func(v float64) bool { return v >= 0 && v <= 1 }
	if c.Rate < 0 || c.RTT < 0 || c.Queue < 0 || c.Jitter < 0 || c.Late < 0 || !share(c.Loss) || !share(c.Reorder) {
		return fmt.Errorf("a path cannot be %+v: want nothing below zero, and shares from 0 to 1", c)
	}
	return nil
}

// String says what the path is like, for the row of a table.
func (c Config) String() string {
	s := fmt.Sprintf("%v, %.3g %% loss", c.RTT, 100*c.Loss)
	if c.Rate > 0 {
		s = fmt.Sprintf("%.4g MB/s, %s", c.Rate/1e6, s)
	}
	if c.Queue > 0 {
		s += fmt.Sprintf(", queue of %v", c.Queue)
	}
	if c.Jitter > 0 {
		s += fmt.Sprintf(", jitter of %v", c.Jitter)
	}
	if c.Reorder > 0 {
		s += fmt.Sprintf(", %.3g %% late by %v", 100*c.Reorder, c.Late)
	}
	return s
}

// Counters are what went one way.
type Counters struct {
	Packets, Bytes int64 // delivered, as IP packets
	Lost           int64 // packets, at random
	Dropped        int64 // packets that the queue had no room for
	Late           int64 // packets that others could overtake

	Queued   time.Duration // the longest wait in the queue
	Waited   time.Duration // all waits of what was delivered; by Packets: the mean
	Behind   time.Duration // the most that a packet came later than it should have
	Begun    time.Time     // when FirstBlock bytes had come; zero before
	Overruns int64         // packets that the forwarder was too late to take over: measure again
}
