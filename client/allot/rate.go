package allot

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// burst is what a limit on what is sent lets through at once after a pause, in seconds
	// of the rate: more than a busy machine lets a connection wait.
	burst = 0.3
	// leastBurst is at least that many bytes: one block of the wire protocol and its
	// header. More would let a peer that is choked keep more than that from others.
	leastBurst = 17 << 10
)

// Limits are bytes per second, 0 none.
type Limits struct{ Down, Up int64 }

// Upload limits what is sent, as a wire.Limiter. Its rate may be changed at any time: what
// was reserved before is forgotten, so who waits for it has to reserve anew.
type Upload struct{ now *atomic.Pointer[rate.Limiter] }

// NewUpload returns a limit in bytes per second, 0 none.
func NewUpload(bytesPerSecond int64) Upload {
	u := Upload{&atomic.Pointer[rate.Limiter]{}}
	u.Set(bytesPerSecond)
	return u
}

// Set changes the limit.
func (u Upload) Set(bytesPerSecond int64) {
	if bytesPerSecond <= 0 {
		u.now.Store(rate.NewLimiter(rate.Inf, math.MaxInt32))
		return
	}
	most := max(int(float64(bytesPerSecond)*burst), leastBurst)
	l := rate.NewLimiter(rate.Limit(bytesPerSecond), most)
	l.AllowN(time.Now(), most) // nothing has accrued
	u.now.Store(l)
}

// Limited reports whether there is a limit.
func (u Upload) Limited() bool { return u.now.Load().Limit() != rate.Inf }

// ReserveN implements wire.Limiter.
func (u Upload) ReserveN(now time.Time, n int) *rate.Reservation {
	return u.now.Load().ReserveN(now, n)
}

// Burst implements wire.Limiter.
func (u Upload) Burst() int { return u.now.Load().Burst() }

// Rate limits what is asked of others, so that they send no faster than wanted: what is
// asked for comes at the speed of the path, and nobody is late because we wait. What
// was asked for and does not come is given back.
//
// Each of those who ask lately has an equal share of what accrues. What does not fit into
// a share, since its owner wants less, is anybody's.
type Rate struct {
	limited atomic.Bool

	mu     sync.Mutex
	limit  float64 // bytes per second; 0 none
	spare  float64 // bytes that are anybody's
	at     time.Time
	shares map[any]*share
}

// share is what one of those who ask may have.
type share struct {
	tokens float64 // bytes; below 0: more came than was asked for
	asked  time.Time
}

const (
	// downBurst is what accrues to a share while its owner does not come, and to what is
	// anybody's, in seconds of the rate: more than a busy machine lets an owner wait.
	downBurst = 0.3
	// leastDownBurst is at least that many bytes: two blocks, lest a part of one is lost
	// while the whole of it is waited for.
	leastDownBurst = 32 << 10
	// shareFor is how long who does not ask keeps a share.
	shareFor = time.Second
	// maxGiven bounds what can be given back, and what can come without having been
	// asked for and has to be made up for, in seconds of the rate.
	maxGiven = 5
)

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
	before := r.limit
	r.limit = float64(max(bytesPerSecond, 0))
	r.limited.Store(r.limit > 0)
	if before == 0 || r.limit == 0 {
		r.at, r.spare, r.shares = time.Time{}, 0, make(map[any]*share)
		return
	}
	r.spare = min(r.spare, r.burst())
	for _, s := range r.shares {
		s.tokens = min(s.tokens, r.burst())
		r.bound(s)
	}
}

// Limited reports whether there is a limit.
func (r *Rate) Limited() bool { return r.limited.Load() }

func (r *Rate) burst() float64 { return max(r.limit*downBurst, leastDownBurst) }

// bound keeps a share within what it may have and owe.
func (r *Rate) bound(s *share) {
	most := r.limit*maxGiven + leastDownBurst
	s.tokens = min(max(s.tokens, -most), most)
}

// fill adds what has accrued. r.mu is held.
func (r *Rate) fill(now time.Time) {
	accrued := 0.0
	if !r.at.IsZero() {
		if !now.After(r.at) {
			return // it was read earlier, by another event loop
		}
		accrued = r.limit * now.Sub(r.at).Seconds()
	}
	r.at = now
	for who, s := range r.shares {
		if s.tokens >= 0 && now.Sub(s.asked) > shareFor {
			r.spare += s.tokens
			delete(r.shares, who)
		}
	}
	n := float64(len(r.shares))
	for _, s := range r.shares {
		room := max(r.burst()/n, leastDownBurst) - s.tokens
		add := max(min(accrued/n, room), 0)
		s.tokens += add
		r.spare += accrued/n - add
	}
	if n == 0 {
		r.spare += accrued
	}
	r.spare = min(r.spare, r.burst())
}

func (r *Rate) share(who any) *share {
	s := r.shares[who]
	if s == nil {
		s = &share{}
		r.shares[who] = s
	}
	return s
}

// Take asks for up to n units of so many bytes for who, and returns how many are
// granted.
func (r *Rate) Take(who any, n, unit int, now time.Time) int {
	if !r.Limited() {
		return n
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limit == 0 {
		return n
	}
	r.fill(now)
	s := r.share(who)
	s.asked = now
	granted := max(min(n, int((s.tokens+r.spare)/float64(unit))), 0)
	s.tokens -= float64(granted * unit)
	if s.tokens < 0 && granted > 0 {
		r.spare += s.tokens
		s.tokens = 0
	}
	return granted
}

// Give gives back what was granted to who and did not come, in bytes; less than 0 for
// what came without having been granted.
func (r *Rate) Give(who any, bytes int64) {
	if bytes == 0 || !r.Limited() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limit == 0 {
		return
	}
	s := r.share(who)
	s.tokens += float64(bytes)
	r.bound(s)
}

// Slots are how many peers a torrent uploads to at a time, and how many of these are
// kept for browsers.
type Slots struct{ All, Web int }
