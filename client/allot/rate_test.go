package allot

import (
	"math"
	"testing"
	"time"
)

const block = 16 << 10

// asker wants blocks from a Rate: at each of its turns, as many as its appetite.
type asker struct {
	every    time.Duration
	appetite int
	got      int64
}

// play lets askers have their turns for a while, and returns the clock.
func play(r *Rate, now time.Time, d time.Duration, askers ...*asker) time.Time {
	end := now.Add(d)
	for step := 0; now.Before(end); step++ {
		now = now.Add(time.Millisecond)
		for _, a := range askers {
			if time.Duration(step)*time.Millisecond%a.every == 0 {
				a.got += int64(r.Take(a, a.appetite, block, now)) * block
			}
		}
	}
	return now
}

func near(t *testing.T, what string, got int64, want float64) {
	t.Helper()
	if math.Abs(float64(got)/want-1) > 0.03 {
		t.Errorf("%s: %d bytes, want %.0f", what, got, want)
	}
}

// Whoever asks gets the same, however often he does; what one does not want is the
// others'; a change holds at once.
func TestRateIsShared(t *testing.T) {
	for _, limit := range []float64{30 << 10, 100 << 10, 1 << 20, 20 << 20} {
		r, now := NewRate(int64(limit)), time.Unix(1000, 0)
		rare, often := &asker{every: 50 * time.Millisecond, appetite: 1000}, &asker{every: time.Millisecond, appetite: 1000}
		now = play(r, now, 200*time.Second, rare, often)
		near(t, "who asks rarely", rare.got, limit*100)
		near(t, "who asks often", often.got, limit*100)
		rare.got, often.got = 0, 0
		now = play(r, now, 200*time.Second, often)
		near(t, "who is alone", often.got, limit*200)
		often.got = 0
		r.Set(int64(limit / 2))
		now = play(r, now, 200*time.Second, often)
		near(t, "half of it", often.got, limit*100)
		often.got = 0
		r.Set(0)
		if n := r.Take(often, 1e6, block, now); n != 1e6 {
			t.Errorf("without a limit, %d are granted", n)
		}
		r.Set(int64(limit))
		play(r, now, 200*time.Second, often)
		near(t, "all of it", often.got, limit*200)
	}
}

// What is given back is granted again, and what came unasked is made up for; both have a
// bound.
func TestRateGivesBack(t *testing.T) {
	const limit = 1 << 20
	r, now := NewRate(limit), time.Unix(1000, 0)
	a := &asker{every: 10 * time.Millisecond, appetite: 10}
	now = play(r, now, 10*time.Second, a)
	r.Give(a, limit)
	now = play(r, now, 10*time.Second, a)
	near(t, "given back", a.got, 21*limit)
	r.Give(a, -limit)
	now = play(r, now, 10*time.Second, a)
	near(t, "made up for", a.got, 30*limit)
	a.got = 0
	r.Give(a, -1000*limit)
	now = play(r, now, 20*time.Second, a)
	near(t, "a flood", a.got, (20-maxGiven)*limit)
	a.got = 0
	r.Give(a, 1000*limit)
	play(r, now, 20*time.Second, a)
	near(t, "more than was granted", a.got, (20+maxGiven)*limit)
}

// Nobody is remembered who does not ask any more.
func TestRateForgets(t *testing.T) {
	r, now := NewRate(1<<20), time.Unix(1000, 0)
	for range 1000 {
		now = play(r, now, 10*time.Millisecond, &asker{every: time.Millisecond, appetite: 1})
	}
	if n := len(r.shares); n > 200 {
		t.Errorf("%d shares are kept", n)
	}
}
