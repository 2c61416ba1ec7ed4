package utp

import "sync"

// Sizes of rings are powers of two.
const (
	minRing = 4 << 10
	maxRing = 8 << 20
)

// ring is a queue of bytes that grows as needed. The zero value is empty.
type ring struct {
	buf   []byte
	start int // of the first byte in buf
	n     int
}

func (r *ring) len() int { return r.n }

// write appends p, whose bound the caller knows.
func (r *ring) write(p []byte) {
	if r.n+len(p) > len(r.buf) {
		r.grow(r.n + len(p))
	}
	at := (r.start + r.n) & (len(r.buf) - 1)
	m := copy(r.buf[at:], p)
	copy(r.buf, p[m:])
	r.n += len(p)
}

// copyAt fills dst from offset off, which must be all there.
func (r *ring) copyAt(dst []byte, off int) {
	if len(dst) == 0 {
		return
	}
	at := (r.start + off) & (len(r.buf) - 1)
	m := copy(dst, r.buf[at:])
	copy(dst[m:], r.buf)
}

// discard takes n bytes, which must be there, from the front.
func (r *ring) discard(n int) {
	if r.n -= n; r.n == 0 {
		r.start = 0
		return
	}
	r.start = (r.start + n) & (len(r.buf) - 1)
}

// read moves bytes from the front to p.
func (r *ring) read(p []byte) int {
	n := min(len(p), r.n)
	r.copyAt(p[:n], 0)
	r.discard(n)
	return n
}

func (r *ring) grow(n int) {
	size := minRing
	for size < n {
		size *= 2
	}
	b := takeRing(size)
	r.copyAt(b[:r.n], 0)
	giveRing(r.buf)
	r.buf, r.start = b, 0
}

// release gives the memory back; what was queued is lost.
func (r *ring) release() {
	giveRing(r.buf)
	*r = ring{}
}

// rings are pools by the logarithm of the size.
var rings [24]sync.Pool

func log2(n int) (k int) {
	for ; n > 1; n >>= 1 {
		k++
	}
	return k
}

func takeRing(size int) []byte { return *take(size) }

func giveRing(b []byte) {
	if len(b) > 0 {
		give(&b)
	}
}

// take returns memory of size bytes, a power of two; by its address, so that nothing is allocated to give it
// back.
func take(size int) *[]byte {
	if b, ok := rings[log2(size)].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, size)
	return &b
}

func give(b *[]byte) { rings[log2(len(*b))].Put(b) }
