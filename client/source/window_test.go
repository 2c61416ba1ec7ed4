package source

import (
	"testing"
	"time"

	"github.com/causeway-bt/causeway/wire"
)

// fillWindow plays a peer with the given rate and round trip that always has as many
// requests as the window allows, and returns the window after a while.
func fillWindow(bytesPerSecond float64, roundTrip, during time.Duration) *Window {
	var w Window
	now := time.Unix(1000, 0)
	end := now.Add(during)
	perBlock := time.Duration(wire.BlockSize / bytesPerSecond * float64(time.Second))
	var asked []time.Time
	free := now // when the link is free for the next block
	for now.Before(end) {
		for len(asked) < w.blocks() {
			asked = append(asked, now)
		}
		arrival := asked[0].Add(roundTrip)
		if free.After(arrival) {
			arrival = free
		}
		arrival = arrival.Add(perBlock)
		free, now = arrival, arrival
		w.received(asked[0], arrival, wire.BlockSize)
		asked = asked[1:]
	}
	return &w
}

func TestWindowFollowsRateTimesRoundTrip(t *testing.T) {
	for _, c := range []struct {
		name      string
		rate      float64
		roundTrip time.Duration
	}{
		{"12.5 MB/s at 100 ms", 12.5e6, 100 * time.Millisecond},
		{"12.5 MB/s at 200 ms", 12.5e6, 200 * time.Millisecond},
		{"1 MB/s at 20 ms", 1e6, 20 * time.Millisecond},
	} {
		w := fillWindow(c.rate, c.roundTrip, 5*time.Second)
		need := c.rate * c.roundTrip.Seconds() / wire.BlockSize
		if got := float64(w.blocks()); got < 1.2*need || got > 4*need+c.rate*0.6/wire.BlockSize {
			t.Errorf("%s: %v blocks; the link holds %.0f", c.name, got, need)
		}
		if w.Rate < 0.8*c.rate || w.Rate > 1.3*c.rate {
			t.Errorf("%s: measured %.0f bytes/s", c.name, w.Rate)
		}
	}
}

func TestWindowOfASlowPeerIsSmall(t *testing.T) {
	if w := fillWindow(20e3, 50*time.Millisecond, 20*time.Second); w.blocks() > 5 {
		t.Errorf("%d blocks are asked of a peer at 20 kB/s", w.blocks())
	}
}
