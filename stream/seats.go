package stream

import (
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// stuckTime: who has not accepted what was sent for so long is paused, or reads no
	// more. Up to maxSection bytes are sent at once, which slow music takes a minute for.
	stuckTime = 2 * time.Minute
	// youngTime is how long a response is worth something though nothing was sent: the
	// first bytes may have to come from peers.
	youngTime = 10 * time.Second
)

// seat is one of the places for responses that read from a torrent.
type seat struct {
	remote netip.Prefix
	began  time.Time
	record *readerRecord // nil: nothing is known of what is sent
	end    func()        // ends the response; nil until there is what to end
	given  bool          // to another
}

func (s *seat) share() netip.Prefix { return s.remote }

// worth is what responses are told apart by when there are too many.
type worth struct {
	class int
	value float64 // within the class: what was accepted, less the longer that is ago
	began time.Time
}

// The classes of responses, worth least first.
const (
	classStuck  = iota // the client reads no more
	classEmpty         // nothing was sent, and not because it is new
	classMoving        // somebody reads it
)

func (s *seat) worth(now time.Time) worth {
	w := worth{class: classMoving, began: s.began}
	var stuck float64
	if s.record != nil {
		w.value, stuck = s.record.accepted(now)
		// Sockets take some MiB from whoever does not read at all, but only once.
		w.value /= 1 + stuck
	}
	switch {
	case stuck >= stuckTime.Seconds():
		w.class = classStuck
	case w.value == 0 && now.Sub(s.began) >= youngTime:
		w.class = classEmpty
	}
	return w
}

func (w worth) less(v worth) bool {
	switch {
	case w.class != v.class:
		return w.class < v.class
	case w.value != v.value:
		return w.value < v.value
	default:
		return w.began.Before(v.began)
	}
}

// seatTable bounds the responses that read from torrents. Where all seats are taken, the
// response worth least makes room, so that clients that do not read keep nobody out.
type seatTable struct {
	limit int

	mu    sync.Mutex
	taken map[*seat]struct{}
}

// take gives a seat to a request, or says that all are taken by responses of which
// none is worth less.
func (t *seatTable) take(r *http.Request) (s *seat, ok bool) {
	now := time.Now()
	s = &seat{remote: requestShare(r), began: now}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.taken) >= t.limit && !t.makeRoom(s.remote, now) {
		return nil, false
	}
	if t.taken == nil {
		t.taken = make(map[*seat]struct{})
	}
	t.taken[s] = struct{}{}
	return s, true
}

func (t *seatTable) makeRoom(newcomer netip.Prefix, now time.Time) bool {
	worths := make(map[*seat]worth, len(t.taken))
	for s := range t.taken {
		worths[s] = s.worth(now)
	}
	least, counts := givesWay(maps.Keys(t.taken), newcomer, func(a, b *seat) bool { return worths[a].less(worths[b]) })
	if worths[least].class == classMoving && least.remote != newcomer && counts[least.remote] <= counts[newcomer] {
		return false // somebody else's, who has no more than his share, and uses it
	}
	delete(t.taken, least)
	least.given = true
	if least.end != nil {
		least.end()
	}
	return true
}

// begin says how a seat's response to r is ended if it has to make room; record is by
// what it is judged.
func (t *seatTable) begin(s *seat, r *http.Request, record *readerRecord, end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.record = record
	s.end = func() {
		enterState(r, connRefused)
		end()
	}
	if s.given {
		s.end()
	} else {
		enterState(r, connStreaming)
	}
}

// leave gives a seat back. Afterwards its response is not ended any more: the
// connection may already serve another.
func (t *seatTable) leave(s *seat) (gaveWay bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.taken, s)
	return s.given
}

// requestShare says as whom a request counts.
func requestShare(r *http.Request) netip.Prefix {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	return shareOf(net.TCPAddrFromAddrPort(remote))
}

// past is a deadline that makes what waits for a client give up at once.
func past() time.Time { return time.Unix(1, 0) }
