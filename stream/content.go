package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/stream/window"
)

const (
	// copyBuffer is what bytes go through that are not on disk yet.
	copyBuffer = 128 << 10
	// A section is sent by one call, during which the engine does not learn that
	// the position moves: at most half a window, and so much that the calls do
	// not count, nor the client's pace.
	minSection = 128 << 10
	maxSection = 4 << 20
	// windowStep: changes of less than an eighth are not told to the reader.
	windowStep = 8
)

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// content is one response's view of a file: an io.ReadSeeker for
// http.ServeContent that opens the file when the first byte is wanted (HEAD, 304
// and 416 never do), and copies ranges by way of the kernel where it can.
type content struct {
	server *Server
	ctx    context.Context
	cancel context.CancelFunc
	key    fileKey
	file   File
	size   int64
	piece  int64
	record *readerRecord

	// mu is held by each Read and Seek: those of a multipart response come from a
	// goroutine of ServeContent that may outlive it by a moment.
	mu     sync.Mutex
	reader Reader // nil until the first byte is wanted
	pos    int64
	at     int64 // the reader's own position
	probe  bool
	window int64 // last told to the reader
	room   int64 // what it has room for of that
	closed bool
	err    error // why copying ended early
}

func (s *Server) newContent(ctx context.Context, t Torrent, index int, record *readerRecord) *content {
	ctx, cancel := context.WithCancel(ctx)
	f := t.Files()[index]
	return &content{
		server: s,
		ctx:    ctx,
		cancel: cancel,
		key:    fileKey{t.InfoHash(), index},
		file:   f,
		size:   f.Length(),
		piece:  t.PieceLength(),
		record: record,
		window: -1,
	}
}

// end returns what ends the response to w at once, whatever it waits for.
func (c *content) end(w http.ResponseWriter) func() {
	rc := http.NewResponseController(w)
	return func() {
		c.cancel()
		_ = rc.SetWriteDeadline(past())
	}
}

// close frees the reader and returns why copying ended early, if it did.
func (c *content) close() error {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.reader != nil {
		if err := c.reader.Close(); err != nil && c.err == nil {
			c.err = err
		}
		c.server.rates.release(c.key)
		c.reader = nil
	}
	return c.err
}

// open makes the reader ready at the position for a response of n bytes.
func (c *content) open(n int64) error {
	if c.closed {
		return os.ErrClosed
	}
	if c.reader == nil {
		r, err := c.file.Open(c.ctx)
		if err != nil {
			return err
		}
		c.reader = r
		c.probe = n <= window.ProbeSize
		c.server.rates.acquire(c.server.ctx, c.key, c.file)
	}
	return c.align()
}

// align moves the reader to the position, unless it is there.
func (c *content) align() error {
	if c.at == c.pos {
		return nil
	}
	_, err := c.reader.Seek(c.pos, io.SeekStart)
	c.at = c.pos
	return err
}

// Seek implements io.Seeker. It only does sums; the reader is moved before it reads.
func (c *content) Seek(offset int64, whence int) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += c.pos
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d in %s", offset, c.file.Path())
	}
	c.pos = offset
	return offset, nil
}

// Read implements io.Reader for multipart responses, whose parts are treated as
// probes: how they go on is unknown.
func (c *content) Read(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// ServeContent reads parts in a goroutine of its own, which net/http does not guard.
	defer func() { err = c.server.recovered(recover(), "reading "+c.file.Path(), err) }()
	if c.pos >= c.size {
		return 0, io.EOF
	}
	if err := c.open(int64(len(p))); err != nil {
		return 0, c.failed(err)
	}
	c.steer(int64(len(p)))
	n, err = c.read(p)
	c.pos += int64(n)
	c.record.sent(int64(n), time.Now())
	c.server.sent.Add(int64(n))
	if err != nil {
		err = c.failed(err)
	}
	return n, err
}

func (c *content) failed(err error) error {
	if c.err == nil {
		c.err = err
	}
	return err
}

// copyTo sends n bytes from the position on.
func (c *content) copyTo(w http.ResponseWriter, n int64) (sent int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.open(n); err != nil {
		return 0, c.failed(err)
	}
	rc := http.NewResponseController(w)
	for sent < n {
		m, err := c.copyChunk(w, rc, n-sent)
		sent += m
		c.pos += m
		c.record.sent(m, time.Now())
		c.server.sent.Add(m)
		if err != nil {
			return sent, c.failed(err)
		}
		if err := c.align(); err != nil {
			return sent, c.failed(err)
		}
	}
	return sent, nil
}

// copyChunk sends some of the n bytes still wanted: from disk if they are there,
// else what the reader has or gets.
func (c *content) copyChunk(w http.ResponseWriter, rc *http.ResponseController, n int64) (int64, error) {
	buffered := c.steer(n)
	limit := min(n, max(minSection, min(c.window/2, maxSection)))
	if f, off, avail, ok := c.reader.Section(c.pos, limit); ok && avail > 0 {
		return c.sendFile(w, rc, f, off, min(avail, limit))
	}
	if buffered == 0 {
		// What was written so far is worth more to the player now than later,
		// and headers at once keep it from giving up.
		if err := c.beforeSending(rc); err != nil {
			return 0, err
		}
		if err := flush(rc); err != nil {
			return 0, err
		}
		c.record.sends(time.Time{})
	}
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	m, err := c.read(buf[:min(n, copyBuffer)])
	if m == 0 {
		return 0, err
	}
	if err := c.beforeSending(rc); err != nil {
		return 0, err
	}
	written, writeErr := w.Write(buf[:m])
	c.record.sends(time.Time{})
	if writeErr != nil {
		return int64(written), writeErr
	}
	return int64(written), err
}

// sendFile lets the kernel copy: an *os.File within an io.LimitedReader is what
// net.TCPConn.ReadFrom knows to sendfile.
func (c *content) sendFile(w http.ResponseWriter, rc *http.ResponseController, f *os.File, off, n int64) (int64, error) {
	if _, err := f.Seek(off, io.SeekStart); err != nil {
		return 0, err
	}
	if err := c.beforeSending(rc); err != nil {
		return 0, err
	}
	// Headers first: net/http passes the first bytes through a buffer otherwise.
	if err := flush(rc); err != nil {
		return 0, err
	}
	sent, err := io.Copy(w, &io.LimitedReader{R: f, N: n})
	c.record.sends(time.Time{})
	if err == nil && sent < n {
		err = fmt.Errorf("%s ends %d bytes early on disk; verify the torrent: %w", f.Name(), n-sent, io.ErrUnexpectedEOF)
	}
	return sent, err
}

// flush sends what net/http holds back, where the ResponseWriter can.
func flush(rc *http.ResponseController) error {
	if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// read reads from the reader and notes how long that took. An end of file before
// the file's length is an error.
func (c *content) read(p []byte) (int, error) {
	c.record.waitBegins(time.Now())
	n, err := c.reader.Read(p)
	c.at += int64(n)
	c.record.waitEnds(time.Now())
	if err == io.EOF && c.pos+int64(n) < c.size { //nolint:errorlint // as io.Reader has it
		err = io.ErrUnexpectedEOF
	} else if err == io.EOF { //nolint:errorlint // as io.Reader has it
		err = nil
	}
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return n, err
}

// steer tells the reader the window for a response that has n bytes to go, and
// returns how many bytes are there already.
func (c *content) steer(n int64) (buffered int64) {
	now := time.Now()
	bitrate := c.server.rates.of(c.key)
	wanted := window.Demand{
		Asked:       n,
		Probe:       c.probe,
		Remaining:   c.size - c.pos,
		PieceLength: c.piece,
		Bitrate:     bitrate,
		ReadRate:    c.record.rate(now),
		Ahead:       c.server.cfg.Ahead,
	}.Window()
	if c.probe || c.window < 0 || max(wanted-c.window, c.window-wanted) > c.window/windowStep {
		c.room = c.reader.SetWindow(wanted)
		c.window = wanted
	}
	buffered = c.reader.Buffered()
	c.record.progressed(c.pos, buffered, min(wanted, c.room), bitrate)
	return buffered
}

// beforeSending gives the client its time anew. Not every ResponseWriter has
// deadlines; those of net/http do.
func (c *content) beforeSending(rc *http.ResponseController) error {
	now := time.Now()
	_ = rc.SetWriteDeadline(now.Add(c.server.cfg.ClientTimeout))
	c.record.sends(now)
	return c.ctx.Err() // whoever ends the response does so first, and then cuts the time
}

// body is the ResponseWriter that http.ServeContent writes to. Its ReadFrom
// recognizes the content's own ranges and copies them the fast way.
type body struct {
	http.ResponseWriter
	content *content
}

// Unwrap serves http.ResponseController.
func (b *body) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// Write takes the parts of a multipart response.
func (b *body) Write(p []byte) (int, error) {
	if err := b.content.beforeSending(http.NewResponseController(b.ResponseWriter)); err != nil {
		return 0, err
	}
	defer b.content.record.sends(time.Time{})
	return b.ResponseWriter.Write(p)
}

// ReadFrom takes single ranges as http.ServeContent copies them.
func (b *body) ReadFrom(src io.Reader) (int64, error) {
	limited, ok := src.(*io.LimitedReader)
	if !ok || limited.R != io.Reader(b.content) {
		rc := http.NewResponseController(b.ResponseWriter)
		if err := b.content.beforeSending(rc); err != nil {
			return 0, err
		}
		if err := flush(rc); err != nil {
			return 0, err
		}
		return io.Copy(struct{ io.Writer }{b}, src)
	}
	n, err := b.content.copyTo(b.ResponseWriter, limited.N)
	limited.N -= n
	return n, err
}
