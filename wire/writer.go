package wire

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Block is a place in a torrent that a peer asked for.
type Block struct {
	Piece, Begin, Length uint32 // bytes
}

func (b Block) message(id ID) Message {
	return Message{ID: id, Index: b.Piece, Begin: b.Begin, Length: b.Length}
}

// Bounds of a Writer.
const (
	// maxControl is how many bytes of messages other than blocks may wait. A peer
	// that reads nothing reaches it; that ends the connection. One message may be
	// longer: the bitfield of a torrent of many million pieces is.
	maxControl = 1 << 20
	// MaxServeQueue is how many requests of a peer may wait to be served; it is
	// what we send as `reqq` (BEP 10). webtorrent.js keeps about a second's worth
	// of blocks in flight.
	MaxServeQueue = 2048
	// A batch is what one read of the disk and one write of the socket carry. It
	// grows while the peer takes it quickly, so that a slow peer pins little
	// memory and a fast one costs few system calls.
	minBatch = 1
	maxBatch = 16 // blocks
	// fastWrite and slowWrite are the durations of a write after which the batch
	// grows, and shrinks.
	fastWrite = 20 * time.Millisecond
	slowWrite = 500 * time.Millisecond
	// writeTimeout is how long a peer may take nothing at all before the
	// connection counts as dead. A batch at its smallest is one block.
	writeTimeout = 2 * time.Minute
	// maxSpare is how large a buffer of messages, in bytes, is kept for the next
	// ones.
	maxSpare = 64 << 10
)

// BlockSource reads verified data for a Writer.
type BlockSource interface {
	// ReadBlocks fills p from the given place in a piece. It never reads across
	// the piece's end.
	ReadBlocks(p []byte, piece, begin uint32) error
}

// Limiter is the part of rate.Limiter that a Writer needs; tokens are bytes.
type Limiter interface {
	ReserveN(now time.Time, n int) *rate.Reservation
	Burst() int
}

// BuffersWriter is implemented by connections that write several buffers with one
// system call, or pack them into one message.
type BuffersWriter interface {
	WriteBuffers(*net.Buffers) (int64, error)
}

// WriterConfig configures a Writer. All fields may be left out, Source only if
// nothing is ever served.
type WriterConfig struct {
	Source BlockSource
	// Limiters are each asked for every byte written. Blocks wait for them; other
	// messages do not, lest a limit on what we send slow down what we ask for.
	Limiters []Limiter
	// Served is called after each run of blocks of a piece was handed to the
	// network, with the bytes of their data. It is called from Run.
	Served func(piece uint32, bytes int64)
	// ReadFailed is called when Source failed; the blocks were rejected or dropped.
	ReadFailed func(Block, error)
	// Reject says whether the peer understands Reject messages (BEP 6).
	Reject bool
}

// Writer sends messages and serves blocks. Its methods may be called from any
// goroutine and do not wait for the network; Run does the writing.
type Writer struct {
	conn net.Conn
	cfg  WriterConfig
	wake chan struct{}

	mu      sync.Mutex
	control []byte
	serve   []Block
	err     error
	paid    int       // bytes that the limiters were asked for, not yet sent
	due     time.Time // when they may be sent

	// Owned by Run.
	spare []byte      // the control buffer that is not in use
	batch int         // blocks
	run   []Block     // the batch being sent
	parts [][]byte    // memory of what one write consists of
	out   net.Buffers // what is left of it

	began     time.Time    // what lastWrite counts from
	lastWrite atomic.Int64 // nanoseconds by the monotonic clock: that of the calendar may be set back
}

// ErrWriterClosed is the error of a Writer after Close.
var ErrWriterClosed = errors.New("connection closed")

var errBacklog = errors.New("peer reads nothing: too many messages wait for it")

// NewWriter returns a Writer to conn; nothing is sent before Run.
func NewWriter(conn net.Conn, cfg WriterConfig) *Writer {
	w := &Writer{conn: conn, cfg: cfg, wake: make(chan struct{}, 1), batch: 4, began: time.Now()}
	return w
}

// Send queues messages, ahead of all blocks. Once the Writer has ended they are
// dropped.
func (w *Writer) Send(ms ...Message) {
	if len(ms) == 0 {
		return
	}
	w.mu.Lock()
	full := false
	if w.err == nil {
		full = len(w.control) > maxControl
		for i := range ms {
			w.control = ms[i].AppendTo(w.control)
		}
	}
	w.mu.Unlock()
	if full {
		_ = w.fail(errBacklog)
		return
	}
	w.signal()
}

// Backlog returns how many bytes of messages other than blocks wait to be sent.
func (w *Writer) Backlog() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.control)
}

// Serve queues a block to be sent, in the order asked. It reports false when the
// queue is full, and for blocks that are empty or longer than MaxBlock.
func (w *Writer) Serve(b Block) bool {
	if b.Length == 0 || b.Length > MaxBlock {
		return false
	}
	w.mu.Lock()
	if w.err != nil || len(w.serve) >= MaxServeQueue {
		w.mu.Unlock()
		return false
	}
	w.serve = append(w.serve, b)
	first := len(w.serve) == 1
	w.mu.Unlock()
	if first {
		w.signal()
	}
	return true
}

// CancelServe takes a block out of the queue, and reports whether it was there.
func (w *Writer) CancelServe(b Block) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.serve, b)
	if i < 0 {
		return false
	}
	w.serve = slices.Delete(w.serve, i, i+1)
	return true
}

// StopServing empties the queue of blocks, rejecting each if the peer understands
// that, and keeps those for which keep is true (nil: none). A Choke sent before it
// thus comes before the rejects, as BEP 6 asks.
func (w *Writer) StopServing(keep func(Block) bool) {
	w.mu.Lock()
	kept := w.serve[:0]
	for _, b := range w.serve {
		if keep != nil && keep(b) {
			kept = append(kept, b)
		} else if w.cfg.Reject {
			m := b.message(Reject)
			w.control = m.AppendTo(w.control)
		}
	}
	w.serve = kept
	w.mu.Unlock()
	w.signal()
}

// LimitsChanged has the Writer ask the limiters anew for what waits for them.
func (w *Writer) LimitsChanged() {
	w.mu.Lock()
	w.paid, w.due = 0, time.Time{}
	w.mu.Unlock()
	w.signal()
}

// Queued returns how many blocks wait to be served.
func (w *Writer) Queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.serve)
}

// Idle returns for how long nothing was written.
func (w *Writer) Idle() time.Duration {
	return time.Since(w.began) - time.Duration(w.lastWrite.Load())
}

// Close makes Run return, also when it is held up in a write, and drops what is
// queued. It leaves the connection open for reading.
func (w *Writer) Close() { _ = w.fail(ErrWriterClosed) }

// fail ends the Writer, and returns what ended it first.
func (w *Writer) fail(err error) error {
	w.mu.Lock()
	if w.err == nil {
		w.err = err
	}
	err = w.err
	w.control, w.serve = nil, nil
	w.mu.Unlock()
	// A write under way ends with this; write looks at err before it begins another.
	w.conn.SetWriteDeadline(time.Now())
	w.signal()
	return err
}

func (w *Writer) ended() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *Writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run writes what is queued until Close, or until the connection fails, and
// returns why it stopped.
func (w *Writer) Run() error {
	for {
		control, wait, err := w.next()
		switch {
		case err != nil:
			return err
		case len(w.run) > 0:
			err = w.writeBlocks(control)
		case len(control) > 0:
			err = w.writeControl(control)
		default:
			w.sleep(wait)
		}
		if err != nil {
			return w.fail(err)
		}
		if cap(control) <= maxSpare {
			w.spare = control[:0]
		}
	}
}

// sleep waits until there is something to write, or for the limiters.
func (w *Writer) sleep(wait time.Duration) {
	if wait <= 0 {
		<-w.wake
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.wake:
	case <-timer.C:
	}
}

// next takes what is to be written next: all messages, and into w.run those blocks
// that follow each other in one piece and need not wait for the limiters.
func (w *Writer) next() (control []byte, wait time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, 0, w.err
	}
	control, w.control, w.spare = w.control, w.spare[:0], nil
	w.spend(len(control))
	n, size := w.runLength()
	if n > 0 && len(w.cfg.Limiters) > 0 {
		if wait = w.pay(size); wait > 0 {
			n = 0
		} else {
			w.paid = 0
		}
	}
	w.run = append(w.run[:0], w.serve[:n]...)
	w.serve = slices.Delete(w.serve, 0, n)
	return control, wait, nil
}

// runLength returns how many of the blocks queued go into one batch, and the bytes
// that it takes to send them. It is no more than the limiters let through at once.
func (w *Writer) runLength() (n, size int) {
	most := w.batch
	for _, l := range w.cfg.Limiters {
		most = min(most, max(l.Burst()/(BlockSize+pieceHeaderLen), 1))
	}
	for n < len(w.serve) && n < most && (n == 0 || follows(w.serve[n-1], w.serve[n])) {
		size += pieceHeaderLen + int(w.serve[n].Length)
		n++
	}
	return n, size
}

func follows(a, b Block) bool {
	return a.Piece == b.Piece && a.Begin+a.Length == b.Begin && a.Length <= BlockSize && b.Length <= BlockSize
}

// pay asks the limiters for size bytes, unless they were asked before, and returns
// how long to wait for them. The blocks stay in the queue meanwhile, where they can
// be cancelled.
func (w *Writer) pay(size int) (wait time.Duration) {
	now := time.Now()
	if size > w.paid {
		if due := now.Add(w.spend(size - w.paid)); due.After(w.due) {
			w.due = due
		}
		w.paid = size
	}
	return w.due.Sub(now)
}

// spend takes n tokens from every limiter, in parts no larger than its burst, and
// returns in what time it will have them.
func (w *Writer) spend(n int) (wait time.Duration) {
	now := time.Now()
	for _, l := range w.cfg.Limiters {
		for left := n; left > 0; {
			part := min(left, max(l.Burst(), 1))
			if r := l.ReserveN(now, part); r.OK() {
				wait = max(wait, r.DelayFrom(now))
			}
			left -= part
		}
	}
	return wait
}

func (w *Writer) writeControl(control []byte) error {
	return w.write(append(w.parts[:0], control))
}

// write sends parts, which are in the memory of w.parts.
func (w *Writer) write(parts [][]byte) error {
	w.parts = parts
	w.out = parts
	defer clear(parts) // the blocks' memory goes back to its pool
	if err := w.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if err := w.ended(); err != nil {
		return err
	}
	var err error
	if bw, ok := w.conn.(BuffersWriter); ok {
		_, err = bw.WriteBuffers(&w.out)
	} else {
		_, err = w.out.WriteTo(w.conn)
	}
	if err != nil {
		return fmt.Errorf("writing to the peer: %w", err)
	}
	w.lastWrite.Store(int64(time.Since(w.began)))
	return nil
}
