package allot

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// burst is what a limit lets through at once after a pause, in seconds of the rate.
const burst = 0.1

// leastBurst is at least that many bytes: one block of the wire protocol and its
// header.
const leastBurst = 17 << 10

// Limits are bytes per second, 0 none.
type Limits struct{ Down, Up int64 }

// Upload limits what is sent, as a wire.Limiter. Its rate may be changed at any time.
type Upload struct{ *rate.Limiter }

// NewUpload returns a limit in bytes per second, 0 none.
func NewUpload(bytesPerSecond int64) Upload {
	u := Upload{rate.NewLimiter(rate.Inf, math.MaxInt32)}
	u.Set(bytesPerSecond)
	return u
}

// Set changes the limit.
func (u Upload) Set(bytesPerSecond int64) {
	if bytesPerSecond <= 0 {
		u.SetLimit(rate.Inf)
		u.SetBurst(math.MaxInt32)
		return
	}
	u.SetBurst(max(int(float64(bytesPerSecond)*burst), leastBurst))
	u.SetLimit(rate.Limit(bytesPerSecond))
}

// Limited reports whether there is a limit.
func (u Upload) Limited() bool { return u.Limit() != rate.Inf }

// Rate limits what is asked of others, so that they send no faster than wanted: what is
// asked for comes at the speed of the path, and nobody is late because we wait. What
// was asked for and does not come is given back.
type Rate struct {
	mu     sync.Mutex
	limit  float64 // bytes per second; 0 none
	tokens float64 // bytes; below 0: more came than was asked for
	at     time.Time
	hungry map[any]time.Time // who lately got less than it wanted
}

// hungryFor is how long who got too little has a share kept for it.
const hungryFor = time.Second

// NewRate returns a limit in bytes per second, 0 none.
func NewRate(bytesPerSecond int64) *Rate {
	r := &Rate{}
	r.Set(bytesPerSecond)
	return r
}

// Set changes the limit.
func (r *Rate) Set(bytesPerSecond int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limit = float64(max(bytesPerSecond, 0))
	r.tokens = min(r.tokens, r.most())
}

// Limited reports whether there is a limit.
func (r *Rate) Limited() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limit > 0
}

func (r *Rate) most() float64 { return max(r.limit*burst, leastBurst) }

// fill adds what has accrued. r.mu is held.
func (r *Rate) fill(now time.Time) {
	if !r.at.IsZero() {
		r.tokens = min(r.tokens+r.limit*max(now.Sub(r.at).Seconds(), 0), r.most())
	}
	r.at = now
}

// Take asks for up to n units of so many bytes, and returns how many are granted. who
// is told apart from others that ask: each gets its share when there is too little.
func (r *Rate) Take(who any, n, unit int, now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limit == 0 {
		return n
	}
	r.fill(now)
	for other, since := range r.hungry {
		if now.Sub(since) > hungryFor {
			delete(r.hungry, other)
		}
	}
	_, waited := r.hungry[who]
	available := int(math.Floor(r.tokens / float64(unit)))
	if others := len(r.hungry); waited {
		available = (available + others - 1) / others
	} else {
		available /= others + 1
	}
	granted := max(min(n, available), 0)
	delete(r.hungry, who)
	if granted < n {
		if r.hungry == nil {
			r.hungry = make(map[any]time.Time)
		}
		r.hungry[who] = now
	}
	r.tokens -= float64(granted * unit)
	return granted
}

// Give gives back what was granted and did not come, in bytes; less than 0 for what
// came without having been granted.
func (r *Rate) Give(bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limit > 0 {
		r.tokens += float64(bytes)
	}
}

// Slots are how many peers a torrent uploads to at a time, and how many of these are
// kept for browsers.
type Slots struct{ All, Web int }
