package source

// queue holds requests in the order they were sent, which is mostly the order in which
// blocks come.
type queue struct {
	items []Request
	head  int
}

func (q *queue) len() int { return len(q.items) - q.head }

func (q *queue) push(r Request) {
	if q.head > 64 && q.head*2 > len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, r)
}

func (q *queue) take(piece, begin, length uint32) (Request, bool) {
	for i := q.head; i < len(q.items); i++ {
		r := q.items[i]
		if uint32(r.Piece.Index) != piece || r.Begin() != begin || r.Length() != length {
			continue
		}
		copy(q.items[q.head+1:i+1], q.items[q.head:i])
		q.items[q.head] = Request{}
		q.head++
		return r, true
	}
	return Request{}, false
}

// takeIf takes out the requests for which match is true.
func (q *queue) takeIf(match func(Request) bool) (taken []Request) {
	rest := q.items[:q.head]
	for _, r := range q.items[q.head:] {
		if match(r) {
			taken = append(taken, r)
		} else {
			rest = append(rest, r)
		}
	}
	clear(q.items[len(rest):])
	q.items = rest
	return taken
}

// cancelIf marks the requests for which match is true as cancelled, and returns those
// that were not before.
func (q *queue) cancelIf(match func(Request) bool) (cancelled []Request) {
	for i := q.head; i < len(q.items); i++ {
		if r := &q.items[i]; !r.Cancelled && match(*r) {
			cancelled = append(cancelled, *r)
			r.Cancelled = true
		}
	}
	return cancelled
}
