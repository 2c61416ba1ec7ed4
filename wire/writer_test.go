package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// sink is a connection that keeps what is written to it. It packs several buffers
// into one write, as a socket does.
type sink struct {
	net.Conn // nil: nothing else may be called
	delay    time.Duration

	mu     sync.Mutex
	data   bytes.Buffer
	writes []int // bytes of each
}

func (s *sink) SetWriteDeadline(time.Time) error { return nil }

func (s *sink) WriteBuffers(v *net.Buffers) (int64, error) {
	time.Sleep(s.delay)
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := v.WriteTo(&s.data)
	s.writes = append(s.writes, int(n))
	return n, err
}

// messages returns what was written, blocks as payloads.
func (s *sink) messages(t *testing.T) []Message {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	ms, err := collect(bytes.NewReader(s.data.Bytes()))
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return ms
}

// pattern is a BlockSource in which every four bytes tell where they are.
type pattern struct {
	reads int
	fail  error
}

func (p *pattern) ReadBlocks(b []byte, piece, begin uint32) error {
	p.reads++
	for i := range len(b) / 4 {
		binary.BigEndian.PutUint32(b[4*i:], piece<<24+begin+uint32(4*i))
	}
	return p.fail
}

func block(piece, i uint32) Block { return Block{piece, i * BlockSize, BlockSize} }

// bubble runs f in a bubble of synctest with a Writer, which f must Close or fail.
func bubble(t *testing.T, conn net.Conn, cfg WriterConfig, f func(w *Writer, ended <-chan error)) {
	synctest.Test(t, func(t *testing.T) {
		w, ended := NewWriter(conn, cfg), make(chan error, 1)
		go func() { ended <- w.Run() }()
		synctest.Wait()
		f(w, ended)
		w.Close()
		synctest.Wait()
	})
}

func TestMessagesQueuedTogetherAreOneWrite(t *testing.T) {
	s := &sink{}
	synctest.Test(t, func(t *testing.T) {
		w := NewWriter(s, WriterConfig{})
		for i := range uint32(100) {
			w.Send(Message{ID: Have, Index: i})
		}
		go w.Run()
		synctest.Wait()
		w.Close()
	})
	if len(s.writes) != 1 || len(s.messages(t)) != 100 {
		t.Errorf("%d messages in %d writes, want 100 in one", len(s.messages(t)), len(s.writes))
	}
}

func TestBlocksAreCoalesced(t *testing.T) {
	s, src := &sink{}, &pattern{}
	var served int64
	synctest.Test(t, func(t *testing.T) {
		w := NewWriter(s, WriterConfig{Source: src, Served: func(_ uint32, n int64) { served += n }})
		for i := range uint32(64) {
			w.Serve(block(2, i))
		}
		w.Send(Message{ID: Unchoke})
		go w.Run()
		synctest.Wait()
		w.Close()
	})
	ms := s.messages(t)
	if len(ms) != 65 || ms[0].ID != Unchoke {
		t.Fatalf("%d messages, the first %v; want the Unchoke and 64 blocks", len(ms), ms[0].ID)
	}
	for i, m := range ms[1:] {
		if m.Index != 2 || m.Begin != uint32(i)*BlockSize || binary.BigEndian.Uint32(m.Payload) != 2<<24+m.Begin {
			t.Fatalf("block %d is %d/%d with data of %x", i, m.Index, m.Begin, m.Payload[:4])
		}
	}
	// Batches of 4, 8, 16, 16, 16 and 4.
	if len(s.writes) != 6 || src.reads != 6 || served != 64*BlockSize {
		t.Errorf("%d writes and %d reads for 64 blocks, %d bytes served; want 6 of each", len(s.writes), src.reads, served)
	}
}

func TestBlocksThatDoNotFollowAreReadApart(t *testing.T) {
	s, src := &sink{}, &pattern{}
	asked := []Block{block(1, 0), block(1, 1), block(1, 3), block(2, 4), {2, 5 * BlockSize, 100}, {3, 0, MaxBlock}, {3, MaxBlock, BlockSize}}
	bubble(t, s, WriterConfig{Source: src}, func(w *Writer, _ <-chan error) {
		for _, b := range asked {
			w.Serve(b)
		}
		synctest.Wait()
	})
	var got []Block
	for _, m := range s.messages(t) {
		got = append(got, Block{m.Index, m.Begin, m.Length})
	}
	if !reflect.DeepEqual(got, asked) {
		t.Errorf("sent %v, want %v", got, asked)
	}
}

func TestBatchFollowsTheSpeedOfThePeer(t *testing.T) {
	s := &sink{delay: time.Second}
	bubble(t, s, WriterConfig{Source: &pattern{}}, func(w *Writer, _ <-chan error) {
		w.mu.Lock() // lest the first is taken before all are queued
		for i := range uint32(10) {
			w.serve = append(w.serve, block(0, i))
		}
		w.mu.Unlock()
		w.signal()
		time.Sleep(20 * time.Second)
		synctest.Wait()
	})
	var blocks []int
	for _, n := range s.writes {
		blocks = append(blocks, n/(BlockSize+pieceHeaderLen))
	}
	if blocks[0] == 1 || blocks[len(blocks)-1] != 1 {
		t.Errorf("a slow peer was sent batches of %v blocks, want them to shrink to 1", blocks)
	}
}

func TestCancelServe(t *testing.T) {
	s := &sink{}
	synctest.Test(t, func(t *testing.T) {
		w := NewWriter(s, WriterConfig{Source: &pattern{}})
		for i := range uint32(3) {
			w.Serve(block(0, i))
		}
		if !w.CancelServe(block(0, 1)) || w.CancelServe(block(0, 1)) || w.CancelServe(block(9, 9)) {
			t.Error("CancelServe does not say what was in the queue")
		}
		go w.Run()
		synctest.Wait()
		w.Close()
	})
	if ms := s.messages(t); len(ms) != 2 || ms[0].Begin != 0 || ms[1].Begin != 2*BlockSize {
		t.Errorf("sent %d blocks, want the first and the third", len(ms))
	}
}

func TestStopServing(t *testing.T) {
	for _, reject := range []bool{true, false} {
		s := &sink{}
		synctest.Test(t, func(t *testing.T) {
			w := NewWriter(s, WriterConfig{Source: &pattern{}, Reject: reject})
			for i := range uint32(3) {
				w.Serve(block(i, 0))
			}
			w.Send(Message{ID: Choke})
			w.StopServing(func(b Block) bool { return b.Piece == 1 })
			go w.Run()
			synctest.Wait()
			w.StopServing(nil)
			if w.Queued() != 0 {
				t.Errorf("%d blocks queued after StopServing", w.Queued())
			}
			w.Close()
		})
		var got []ID
		for _, m := range s.messages(t) {
			got = append(got, m.ID)
		}
		want := []ID{Choke, Piece}
		if reject {
			want = []ID{Choke, Reject, Reject, Piece}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("with rejects %v: sent %v, want %v", reject, got, want)
		}
	}
}

func TestServeQueueIsBounded(t *testing.T) {
	w := NewWriter(&sink{}, WriterConfig{})
	for i := range uint32(MaxServeQueue) {
		if !w.Serve(block(0, i)) {
			t.Fatalf("block %d refused", i)
		}
	}
	if w.Serve(block(0, 0)) || w.Queued() != MaxServeQueue {
		t.Errorf("more than %d blocks were queued", MaxServeQueue)
	}
	w = NewWriter(&sink{}, WriterConfig{})
	if w.Serve(Block{0, 0, MaxBlock + 1}) || w.Serve(Block{}) {
		t.Error("a block of no use was queued")
	}
}

func TestPeerThatReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		w, ended := NewWriter(ours, WriterConfig{}), make(chan error, 1)
		go func() { ended <- w.Run() }()
		for range maxControl/MaxExtended + 2 {
			w.Send(Message{ID: Extended, Payload: make([]byte, MaxExtended)})
			synctest.Wait()
		}
		select {
		case err := <-ended:
			if !errors.Is(err, errBacklog) {
				t.Errorf("ended with %v, want %v", err, errBacklog)
			}
		default:
			t.Error("goes on with more than maxControl waiting")
			w.Close()
		}
		w.Send(make([]Message, 1000)...)
		if w.Serve(block(0, 0)) || len(w.control) != 0 {
			t.Error("queues more after its end")
		}
	})
}

func TestPeerThatStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		w, start := NewWriter(ours, WriterConfig{}), time.Now()
		w.Send(Message{ID: Choke})
		if err := w.Run(); err == nil || time.Since(start) != writeTimeout {
			t.Errorf("ended after %v with %v, want an error after %v", time.Since(start), err, writeTimeout)
		}
	})
}

func TestCloseInTheMiddleOfAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		w, ended := NewWriter(ours, WriterConfig{Source: &pattern{}}), make(chan error, 1)
		go func() { ended <- w.Run() }()
		w.Serve(block(0, 0))
		synctest.Wait() // held up in the write
		w.Close()
		if err := <-ended; !errors.Is(err, ErrWriterClosed) {
			t.Errorf("ended with %v, want %v", err, ErrWriterClosed)
		}
	})
}

func TestDiskFailure(t *testing.T) {
	for _, reject := range []bool{true, false} {
		s, failed := &sink{}, []Block(nil)
		src := &pattern{fail: errors.New("the disk is gone")}
		synctest.Test(t, func(t *testing.T) {
			w := NewWriter(s, WriterConfig{
				Source: src, Reject: reject,
				ReadFailed: func(b Block, err error) { failed = append(failed, b) },
			})
			w.Serve(block(4, 0))
			w.Serve(block(4, 1))
			w.Send(Message{ID: Have, Index: 1})
			go w.Run()
			synctest.Wait()
			src.fail = nil
			w.Serve(block(5, 0))
			synctest.Wait()
			w.Close()
		})
		var got []ID
		for _, m := range s.messages(t) {
			got = append(got, m.ID)
		}
		want := []ID{Have, Piece}
		if reject {
			want = []ID{Have, Reject, Reject, Piece}
		}
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(failed, []Block{block(4, 0)}) {
			t.Errorf("with rejects %v: sent %v, want %v; told of %v", reject, got, want, failed)
		}
	}
}

func TestIdle(t *testing.T) {
	bubble(t, &sink{}, WriterConfig{}, func(w *Writer, _ <-chan error) {
		time.Sleep(time.Minute)
		if w.Idle() != time.Minute {
			t.Errorf("idle for %v after a minute", w.Idle())
		}
		w.Send(Message{ID: KeepAlive})
		synctest.Wait()
		if w.Idle() != 0 {
			t.Errorf("idle for %v after a keep-alive", w.Idle())
		}
	})
}

func TestBlocksWaitForTheLimiters(t *testing.T) {
	const rateLimit, blocks = 64 << 10, 64
	s := &sink{}
	fast := rate.NewLimiter(rateLimit*10, BlockSize*10)
	slow := rate.NewLimiter(rateLimit, BlockSize+pieceHeaderLen)
	bubble(t, s, WriterConfig{Source: &pattern{}, Limiters: []Limiter{fast, slow}}, func(w *Writer, _ <-chan error) {
		start := time.Now()
		for i := range uint32(blocks) {
			w.Serve(block(0, i))
		}
		for w.Queued() > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		want := time.Duration(blocks-1) * time.Second * (BlockSize + pieceHeaderLen) / rateLimit
		if took := time.Since(start); took < want || took > want+100*time.Millisecond {
			t.Errorf("%d blocks took %v, want %v", blocks, took, want)
		}
	})
}

func TestMessagesDoNotWaitForTheLimiters(t *testing.T) {
	s := &sink{}
	limiter := rate.NewLimiter(1, BlockSize+pieceHeaderLen)
	bubble(t, s, WriterConfig{Source: &pattern{}, Limiters: []Limiter{limiter}, Reject: true}, func(w *Writer, _ <-chan error) {
		w.Serve(block(0, 0))
		w.Serve(block(0, 1)) // hours from now
		synctest.Wait()
		start := time.Now()
		w.Send(Message{ID: Request})
		synctest.Wait()
		ms := s.messages(t)
		if len(ms) != 2 || ms[1].ID != Request || time.Since(start) != 0 {
			t.Errorf("%d messages sent after %v, want a block and the request at once", len(ms), time.Since(start))
		}
		if !w.CancelServe(block(0, 1)) {
			t.Error("a block that waits for the limiter cannot be cancelled")
		}
	})
}

func TestLimiterWithABurstSmallerThanABlock(t *testing.T) {
	s := &sink{}
	bubble(t, s, WriterConfig{Source: &pattern{}, Limiters: []Limiter{rate.NewLimiter(1000, 1000)}}, func(w *Writer, _ <-chan error) {
		w.Serve(block(0, 0))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if len(s.messages(t)) != 1 {
			t.Error("the block never came")
		}
	})
}

// counter is a connection that only counts.
type counter struct {
	net.Conn
	blocks int
	done   chan struct{}
	target int
}

func (c *counter) SetWriteDeadline(time.Time) error { return nil }

func (c *counter) WriteBuffers(v *net.Buffers) (n int64, err error) {
	for _, b := range *v {
		n += int64(len(b))
	}
	if c.blocks += int(n / BlockSize); c.blocks >= c.target {
		close(c.done)
		c.target = math.MaxInt
	}
	*v = nil
	return n, nil
}

// BenchmarkServe is to allocate nothing per block.
func BenchmarkServe(b *testing.B) {
	c := &counter{done: make(chan struct{}), target: b.N}
	w, ended := NewWriter(c, WriterConfig{Source: zeros{}}), make(chan struct{})
	go func() {
		w.Run()
		close(ended)
	}()
	b.SetBytes(BlockSize)
	b.ReportAllocs()
	for i := range b.N {
		for !w.Serve(Block{0, uint32(i % 1024 * BlockSize), BlockSize}) {
			time.Sleep(time.Microsecond)
		}
	}
	<-c.done
	w.Close()
	<-ended
}

type zeros struct{}

func (zeros) ReadBlocks([]byte, uint32, uint32) error { return nil }

// What waits for a limit goes when the limit is lifted, not when it would have gone.
func TestLimitsChange(t *testing.T) {
	s := &sink{}
	limiter := &changing{}
	limiter.Store(rate.NewLimiter(1, BlockSize+pieceHeaderLen))
	bubble(t, s, WriterConfig{Source: &pattern{}, Limiters: []Limiter{limiter}}, func(w *Writer, _ <-chan error) {
		limiter.Load().AllowN(time.Now(), limiter.Burst())
		w.Serve(block(0, 0))
		time.Sleep(time.Second)
		limiter.Store(rate.NewLimiter(rate.Inf, 1<<30))
		start := time.Now()
		w.LimitsChanged()
		synctest.Wait()
		if n := len(s.messages(t)); n != 1 || time.Since(start) > 0 {
			t.Errorf("%d blocks were sent after %v", n, time.Since(start))
		}
	})
}

// changing is a limiter that is replaced.
type changing struct{ atomic.Pointer[rate.Limiter] }

func (c *changing) ReserveN(now time.Time, n int) *rate.Reservation { return c.Load().ReserveN(now, n) }
func (c *changing) Burst() int                                      { return c.Load().Burst() }
