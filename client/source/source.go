package source

import (
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/picker"
	"github.com/causeway-bt/causeway/wire"
)

// Link is how a source is asked. Its methods do not wait for the network.
type Link interface {
	// Request asks for blocks, in order.
	Request(rs []Request)
	// Cancel takes requests back.
	Cancel(rs ...Request)
	// MaxRequests is how many requests it queues, 0 if it does not say.
	MaxRequests() int
	// Close ends it; why is for the log.
	Close(why error)
}

// Request is a block that a source was asked for.
type Request struct {
	Piece *disk.Piece
	Block int
	At    time.Time
	// Cancelled: it was taken back, but may still be answered.
	Cancelled bool
}

// Begin returns where the block begins in its piece, in bytes.
func (r Request) Begin() uint32 { return uint32(r.Block) * wire.BlockSize }

// Length returns the block's length in bytes.
func (r Request) Length() uint32 { return uint32(r.Piece.BlockLen(r.Block)) }

// Source is one that blocks are asked of.
type Source struct {
	Link Link
	Who  *Identity
	// Pick is what the picker knows of it: what it has, what it owes.
	Pick   picker.Peer
	Window Window
	// Suggested are pieces that it would rather send, Allowed those that it sends
	// even while Pick.Choking (BEP 6).
	Suggested, Allowed []int

	LastBlock  time.Time
	FirstAsked time.Time // of the requests under way, when the first was sent
	Tardy      bool      // others sent what it owes before it sent anything, while a player waits

	mu       sync.Mutex
	requests queue
}

// New returns a source that nothing is known of.
func New(link Link, who *Identity) *Source {
	s := &Source{Link: link, Who: who}
	s.Pick.Tag, s.Pick.Choking = s, true
	return s
}

// Ask sends requests, and remembers them.
func (s *Source) Ask(rs []Request, now time.Time) {
	if len(rs) == 0 {
		return
	}
	if s.Pick.InFlight() <= len(rs) {
		s.FirstAsked = now
	}
	s.mu.Lock()
	for _, r := range rs {
		s.requests.push(r)
	}
	s.mu.Unlock()
	s.Link.Request(rs)
}

// Take returns the request that a block answers, and forgets it. It may be called
// from any goroutine.
func (s *Source) Take(piece, begin, length uint32) (Request, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests.take(piece, begin, length)
}

// Arrived is Take for a block that has come; left is how many requests are not answered
// yet. It may be called from any goroutine.
func (s *Source) Arrived(piece, begin, length uint32) (r Request, left int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok = s.requests.take(piece, begin, length)
	return r, s.requests.len(), ok
}

// Cancel takes a request back, and forgets it.
func (s *Source) Cancel(piece *disk.Piece, block int) (Request, bool) {
	r, ok := s.Take(uint32(piece.Index), uint32(block)*wire.BlockSize, uint32(piece.BlockLen(block)))
	if ok {
		s.Link.Cancel(r)
	}
	return r, ok
}

// CancelIf takes back the requests for which match is true, and returns them. They are
// remembered: their blocks may come all the same, and are of use then.
func (s *Source) CancelIf(match func(Request) bool) []Request {
	s.mu.Lock()
	cancelled := s.requests.cancelIf(match)
	s.mu.Unlock()
	if len(cancelled) > 0 {
		s.Link.Cancel(cancelled...)
	}
	return cancelled
}

// Forget drops all requests, which it will not answer, and returns them.
func (s *Source) Forget() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests.takeIf(func(Request) bool { return true })
}

const (
	// giveUpAfter is how long a source that owes blocks may send none before they are
	// asked anew, of it too: it has forgotten them, most likely. It must be long
	// enough for one block of the slowest.
	giveUpAfter = 20 * time.Second
	// requestLife is after what time a request that later ones have overtaken is
	// taken back.
	requestLife = 2 * maxPatience
)

// Expired takes out the requests that will not be answered any more.
func (s *Source) Expired(now time.Time) []Request {
	dead := now.Sub(s.lastSign()) > giveUpAfter
	s.mu.Lock()
	expired := s.requests.takeIf(func(r Request) bool {
		age := now.Sub(r.At)
		return age > requestLife || dead && age > giveUpAfter
	})
	s.mu.Unlock()
	return expired
}

// lastSign is when it last sent a block, or was first asked for those that it owes.
func (s *Source) lastSign() time.Time {
	if s.FirstAsked.After(s.LastBlock) {
		return s.FirstAsked
	}
	return s.LastBlock
}

// Received notes that a block has come.
func (s *Source) Received(askedAt, at time.Time, length int) {
	s.LastBlock = at
	s.Pick.Snubbing, s.Tardy = false, false
	s.Window.received(askedAt, at, length)
}

// Judge tells the picker how late it may be, and whether it is.
func (s *Source) Judge(now time.Time) {
	s.Pick.Snubbing = s.Tardy || s.snubbing(now)
	s.Pick.Patience, s.Pick.Hurry = s.patience(), s.hurry()
}
