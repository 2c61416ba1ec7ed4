package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
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
	// that reads nothing reaches it; that ends the connection.
	maxControl = 4 << 20
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
)

// BlockSource reads verified data for a Writer.
type BlockSource interface {
	// ReadBlocks fills p from the given place in a piece. It never reads across
	// the piece's end.
	ReadBlocks(p []byte, piece, begin uint32) error
}

// Limiter is the part of rate.Limiter that a Writer needs; tokens are bytes.
type Limiter interface {
	WaitN(ctx context.Context, n int) error
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
	Source   BlockSource
	Limiters []Limiter // each is asked for every byte written
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
	conn   net.Conn
	cfg    WriterConfig
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{}

	mu      sync.Mutex
	control []byte
	serve   []Block
	err     error

	spare     []byte // the control buffer that is not in use
	batch     int    // blocks, owned by Run
	lastWrite atomic.Int64
	written   atomic.Int64
}

// ErrWriterClosed is the error of a Writer after Close.
var ErrWriterClosed = errors.New("connection closed")

var errBacklog = errors.New("peer reads nothing: too many messages wait for it")

// NewWriter returns a Writer to conn; nothing is sent before Run.
func NewWriter(conn net.Conn, cfg WriterConfig) *Writer {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Writer{
		conn: conn, cfg: cfg, ctx: ctx, cancel: cancel,
		wake: make(chan struct{}, 1), batch: 4,
	}
	w.lastWrite.Store(time.Now().UnixNano())
	return w
}

// Send queues messages, ahead of all blocks.
func (w *Writer) Send(ms ...Message) {
	if len(ms) == 0 {
		return
	}
	w.mu.Lock()
	for i := range ms {
		w.control = ms[i].AppendTo(w.control)
	}
	if len(w.control) > maxControl && w.err == nil {
		w.err = errBacklog
		w.control = nil
	}
	w.mu.Unlock()
	w.signal()
}

// Serve queues a block to be sent, in the order asked. It reports false when the
// queue is full.
func (w *Writer) Serve(b Block) bool {
	w.mu.Lock()
	if len(w.serve) >= MaxServeQueue {
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

// Queued returns how many blocks wait to be served.
func (w *Writer) Queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.serve)
}

// Written returns how many bytes were handed to the network.
func (w *Writer) Written() int64 { return w.written.Load() }

// Idle returns for how long nothing was written.
func (w *Writer) Idle() time.Duration {
	return time.Duration(time.Now().UnixNano() - w.lastWrite.Load())
}

// Close makes Run return. It does not close the connection, which may be needed to
// free a Run that is held up in a write.
func (w *Writer) Close() {
	w.mu.Lock()
	if w.err == nil {
		w.err = ErrWriterClosed
	}
	w.mu.Unlock()
	w.cancel()
	w.signal()
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
	defer w.cancel()
	for {
		control, run, err := w.next()
		switch {
		case err != nil:
			return err
		case len(run) > 0:
			err = w.writeBlocks(control, run)
		case len(control) > 0:
			err = w.write(net.Buffers{control}, len(control))
		default:
			<-w.wake
			continue
		}
		if err != nil {
			return err
		}
		w.spare = control[:0]
	}
}

// next takes what is to be written next: all messages, and a run of blocks that
// follow each other in one piece.
func (w *Writer) next() (control []byte, run []Block, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, nil, w.err
	}
	control, w.control, w.spare = w.control, w.spare[:0], nil
	n := 0
	for n < len(w.serve) && n < w.batch && (n == 0 || follows(w.serve[n-1], w.serve[n])) {
		n++
	}
	if n > 0 {
		run = append(run, w.serve[:n]...)
		w.serve = slices.Delete(w.serve, 0, n)
	}
	return control, run, nil
}

func follows(a, b Block) bool {
	return a.Piece == b.Piece && a.Begin+a.Length == b.Begin && a.Length <= BlockSize && b.Length <= BlockSize
}

// batchMemory is the memory of one batch: blocks and their headers.
type batchMemory struct {
	data    [maxBatch * BlockSize]byte
	headers [maxBatch * pieceHeaderLen]byte
}

const pieceHeaderLen = 13

var batches = sync.Pool{New: func() any { return new(batchMemory) }}

// writeBlocks sends control and then run, read with one call.
func (w *Writer) writeBlocks(control []byte, run []Block) error {
	mem := batches.Get().(*batchMemory)
	defer batches.Put(mem)
	total := 0
	for _, b := range run {
		total += int(b.Length)
	}
	data := mem.data[:]
	if total > len(data) { // one block of an unusual length
		data = make([]byte, total)
	}
	data = data[:total]
	if err := w.cfg.Source.ReadBlocks(data, run[0].Piece, run[0].Begin); err != nil {
		return w.readFailed(control, run, err)
	}
	bufs := make(net.Buffers, 0, 2*len(run)+1)
	size := total + len(run)*pieceHeaderLen
	if len(control) > 0 {
		bufs = append(bufs, control)
		size += len(control)
	}
	headers := mem.headers[:0]
	for _, b := range run {
		m := b.message(Piece)
		start := len(headers)
		headers = m.AppendTo(headers)
		bufs = append(bufs, headers[start:len(headers):len(headers)], data[:b.Length:b.Length])
		data = data[b.Length:]
	}
	if err := w.write(bufs, size); err != nil {
		return err
	}
	if w.cfg.Served != nil {
		w.cfg.Served(run[0].Piece, int64(total))
	}
	return nil
}

// readFailed goes on after the disk failed for run: what was queued before it is
// sent, and the peer told that the blocks will not come.
func (w *Writer) readFailed(control []byte, run []Block, cause error) error {
	if w.cfg.ReadFailed != nil {
		w.cfg.ReadFailed(run[0], cause)
	}
	if w.cfg.Reject {
		for _, b := range run {
			m := b.message(Reject)
			control = m.AppendTo(control)
		}
	}
	if len(control) == 0 {
		return nil
	}
	return w.write(net.Buffers{control}, len(control))
}

// write sends bufs, size bytes in all, within the rate limits.
func (w *Writer) write(bufs net.Buffers, size int) error {
	if err := w.waitForTokens(size); err != nil {
		return err
	}
	start := time.Now()
	if err := w.conn.SetWriteDeadline(start.Add(writeTimeout)); err != nil {
		return err
	}
	var err error
	if bw, ok := w.conn.(BuffersWriter); ok {
		_, err = bw.WriteBuffers(&bufs)
	} else {
		_, err = bufs.WriteTo(w.conn)
	}
	if err != nil {
		return fmt.Errorf("writing to the peer: %w", err)
	}
	end := time.Now()
	w.lastWrite.Store(end.UnixNano())
	w.written.Add(int64(size))
	switch took := end.Sub(start); {
	case took < fastWrite:
		w.batch = min(w.batch*2, maxBatch)
	case took > slowWrite:
		w.batch = max(w.batch/2, minBatch)
	}
	return nil
}

// waitForTokens takes size bytes from every limiter, in parts no larger than a
// limiter's burst.
func (w *Writer) waitForTokens(size int) error {
	for _, l := range w.cfg.Limiters {
		for left := size; left > 0; {
			n := min(left, max(l.Burst(), 1))
			if err := l.WaitN(w.ctx, n); err != nil {
				return ErrWriterClosed
			}
			left -= n
		}
	}
	return nil
}
