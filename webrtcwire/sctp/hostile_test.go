package sctp

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// void takes packets and keeps the last ones.
type void struct{ sent [][]byte }

func (v *void) Room() (int, int) { return 0, 0 }

func (v *void) SendOne(b []byte, _ bool) bool { return v.Send(b, len(b)) }

func (v *void) Send(b []byte, size int) bool {
	for ; len(b) > 0; b = b[min(size, len(b)):] {
		if v.sent = append(v.sent, slices.Clone(b[:min(size, len(b))])); len(v.sent) > 1000 {
			v.sent = v.sent[1:]
		}
	}
	return true
}

const peerTag, peerTSN = 0x01020304, 1000

// standing is an association with a peer whose packets the test writes.
func standing() (*Association, *void) {
	v := &void{}
	a := New(Config{Outlet: v})
	h := hello{tag: peerTag, rwnd: 1 << 20, out: 10, in: 10, tsn: peerTSN, zeroChecksum: true}
	a.Receive(packetTo(0, appendChunk(nil, chunkInit, 0, h.append(nil))))
	a.Receive(packetTo(a.tag, appendChunk(nil, chunkCookieEcho, 0, a.cookie(h))))
	a.Flush()
	return a, v
}

func packetTo(tag uint32, chunks ...[]byte) []byte {
	b := make([]byte, headerSize)
	binary.BigEndian.PutUint16(b, port)
	binary.BigEndian.PutUint16(b[2:], port)
	binary.BigEndian.PutUint32(b[4:], tag)
	return append(b, slices.Concat(chunks...)...)
}

func dataChunk(tsn uint32, stream uint16, ppid uint32, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, tsn)
	b = binary.BigEndian.AppendUint16(b, stream)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, ppid)
	return appendChunk(nil, chunkData, flagBegin|flagEnd, append(b, data...))
}

func sackChunk(cumulative, window uint32, gaps ...uint16) []byte {
	b := binary.BigEndian.AppendUint32(nil, cumulative)
	b = binary.BigEndian.AppendUint32(b, window)
	b = binary.BigEndian.AppendUint16(b, uint16(len(gaps)/2))
	b = binary.BigEndian.AppendUint16(b, 0)
	for _, gap := range gaps {
		b = binary.BigEndian.AppendUint16(b, gap)
	}
	return appendChunk(nil, chunkSack, 0, b)
}

// TestHostilePackets has each neither end the association nor be answered with more than it is long,
// unless it says otherwise.
func TestHostilePackets(t *testing.T) {
	open := func(stream uint16) []byte {
		b := make([]byte, dcepHeader)
		b[0] = dcepOpen
		return dataChunk(peerTSN, stream, ppidDCEP, b)
	}
	for _, test := range []struct {
		name    string
		packets func(a *Association) [][]byte
		ends    bool
	}{
		{"wrong tag", func(a *Association) [][]byte {
			return [][]byte{packetTo(a.tag+1, appendChunk(nil, chunkAbort, 0, nil))}
		}, false},
		{"our tag reflected", func(*Association) [][]byte { return [][]byte{packetTo(peerTag, appendChunk(nil, chunkAbort, 0, nil))} }, false},
		{"truncated", func(a *Association) [][]byte { return [][]byte{packetTo(a.tag, []byte{chunkData, 0, 0, 200, 1})} }, false},
		{"chunk of no length", func(a *Association) [][]byte { return [][]byte{packetTo(a.tag, []byte{chunkSack, 0, 0, 0})} }, false},
		{"wrong checksum", func(a *Association) [][]byte {
			b := packetTo(a.tag, appendChunk(nil, chunkAbort, 0, nil))
			b[8] = 1
			return [][]byte{b}
		}, false},
		{"data far ahead", func(a *Association) [][]byte {
			return [][]byte{packetTo(a.tag, dataChunk(peerTSN+1<<30, 1, ppidBinary, []byte{1}))}
		}, false},
		{"gap beyond what was sent", func(a *Association) [][]byte {
			return [][]byte{packetTo(a.tag, sackChunk(a.out.first-1, 1<<20, 1, 60000))}
		}, false},
		{"gap that ends before it begins", func(a *Association) [][]byte {
			return [][]byte{packetTo(a.tag, sackChunk(a.out.first-1, 1<<20, 9, 3))}
		}, false},
		{"optimistic SACK", func(a *Association) [][]byte { return [][]byte{packetTo(a.tag, sackChunk(a.out.first+100, 1<<20))} }, true},
		{"no data", func(a *Association) [][]byte {
			return [][]byte{packetTo(a.tag, dataChunk(peerTSN, 1, ppidBinary, nil))}
		}, true},
		{"another INIT", func(*Association) [][]byte {
			h := hello{tag: 77, rwnd: 1 << 20, out: 10, in: 10, tsn: 5}
			return [][]byte{packetTo(0, appendChunk(nil, chunkInit, 0, h.append(nil)))}
		}, false},
		{"a cookie of somebody's", func(a *Association) [][]byte {
			return [][]byte{packetTo(a.tag, appendChunk(nil, chunkCookieEcho, 0, make([]byte, nonceSize+initSize+1)))}
		}, false},
		{"an OPEN cut short", func(a *Association) [][]byte {
			return [][]byte{packetTo(a.tag, dataChunk(peerTSN, 1, ppidDCEP, []byte{dcepOpen}))}
		}, false},
		{"channels without end", func(a *Association) (b [][]byte) {
			for i := range uint16(maxOpened + 1) {
				chunk := open(i)
				binary.BigEndian.PutUint32(chunk[chunkHeader:], peerTSN+uint32(i))
				b = append(b, packetTo(a.tag, chunk))
			}
			return b
		}, true},
		{"FORWARD-TSN far ahead", func(a *Association) [][]byte {
			return [][]byte{packetTo(a.tag, appendChunk(nil, chunkForwardTSN, 0, []byte{0x7f, 0, 0, 0}))}
		}, false},
		{"a flood of resets", func(a *Association) (b [][]byte) {
			for i := range uint32(100) {
				request := binary.BigEndian.AppendUint32(nil, peerTSN+i)
				request = binary.BigEndian.AppendUint64(request, uint64(peerTSN-1))
				b = append(b, packetTo(a.tag, appendChunk(nil, chunkReconfig, 0, appendParam(nil, paramOutgoingReset, request))))
			}
			return b
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, v := standing()
			defer a.Close()
			v.sent = nil
			in, out := 0, 0
			for _, b := range test.packets(a) {
				in += len(b)
				a.Receive(b)
				a.Flush()
			}
			for _, b := range v.sent {
				out += len(b)
			}
			if ended := a.Err() != nil; ended != test.ends {
				t.Errorf("the association: %v", a.Err())
			}
			if out > 2*in+200 {
				t.Errorf("answered %d bytes with %d", in, out)
			}
		})
	}
}

// TestFloodIsAnsweredInPart has a packet full of HEARTBEATs.
func TestFloodIsAnsweredInPart(t *testing.T) {
	a, v := standing()
	defer a.Close()
	v.sent = nil
	var chunks [][]byte
	for range 200 {
		chunks = append(chunks, appendChunk(nil, chunkHeartbeat, 0, []byte{1, 2, 3, 4}))
	}
	a.Receive(packetTo(a.tag, chunks...))
	a.Flush()
	answers := 0
	for _, b := range v.sent {
		for rest := b[headerSize:]; len(rest) > 0; answers++ {
			_, rest, _ = nextChunk(rest)
		}
	}
	if answers == 0 || answers > maxControlChunksPerPacket {
		t.Errorf("%d answers, want some, up to %d", answers, maxControlChunksPerPacket)
	}
}

// TestWhatNobodyReadsIsBounded sends to a channel that nobody reads, in order and not.
func TestWhatNobodyReadsIsBounded(t *testing.T) {
	for _, step := range []uint32{1, 2} {
		a, _ := standing()
		b := make([]byte, dcepHeader)
		b[0] = dcepOpen
		a.Receive(packetTo(a.tag, dataChunk(peerTSN, 1, ppidDCEP, b)))
		before := held.Load()
		data := make([]byte, 1100)
		for tsn := uint32(peerTSN + 1); tsn < peerTSN+20000; tsn += step {
			a.Receive(packetTo(a.tag, dataChunk(tsn, 1, ppidBinary, data)))
			a.Flush()
		}
		if grown := held.Load() - before; grown > receiveWindow+int64(len(data)) {
			t.Errorf("step %d: holds %d bytes", step, grown)
		}
		if len(a.in.spans) > maxBlocks {
			t.Errorf("step %d: %d gaps", step, len(a.in.spans))
		}
		a.Close()
		if got := held.Load(); got != before {
			t.Errorf("step %d: %d bytes are held after the end", step, got-before)
		}
	}
}

// TestWindowOpensAgain fills the window, and has it all arrive once somebody reads.
func TestWindowOpensAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := path{rate: 100e6, delay: time.Millisecond}
		a, b, opened, stop := link(t, p, p)
		defer stop()
		c, err := a.Open("test")
		if err != nil {
			t.Fatal(err)
		}
		const size = 12 << 20
		go func() {
			if err := pump(c, make([]byte, size)); err != nil {
				t.Error(err)
			}
		}()
		d := <-opened
		time.Sleep(20 * time.Second)
		b.mu.Lock()
		full := d.queue.size + b.in.waiting
		b.mu.Unlock()
		if full < receiveWindow-packetSize || full > receiveWindow+packetSize {
			t.Errorf("%d bytes wait for a reader, want %d", full, receiveWindow)
		}
		buffer := make([]byte, 64<<10)
		start := time.Now()
		for got := 0; got < size; {
			n, err := drain1(d, buffer)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v to go on", took)
		}
	})
}

// FuzzReceive feeds chunks to an association that stands, with data under way.
func FuzzReceive(f *testing.F) {
	f.Add(sackChunk(7, 1<<20, 1, 3, 5, 9), uint32(3))
	f.Add(dataChunk(peerTSN, 1, ppidBinary, []byte("data")), uint32(0))
	f.Add(dataChunk(peerTSN, 1, ppidDCEP, []byte{dcepOpen, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), uint32(0))
	f.Add(appendChunk(nil, chunkReconfig, 0, appendParam(nil, paramOutgoingReset, make([]byte, 14))), uint32(0))
	f.Add(appendChunk(nil, chunkForwardTSN, 0, []byte{0, 0, 4, 0}), uint32(0))
	h := hello{tag: 1, rwnd: 1, out: 1, in: 1, cookie: []byte{1}}
	f.Add(appendChunk(nil, chunkInitAck, 0, h.append(nil)), uint32(0))
	f.Fuzz(func(t *testing.T, chunks []byte, tsn uint32) {
		a, v := standing()
		defer a.Close()
		c, err := a.Open("fuzz")
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if _, err := c.Write(make([]byte, 5000)); err != nil {
				t.Fatal(err)
			}
		}
		if len(chunks) >= 8 { // so that numbers are near what they should be
			switch chunks[0] {
			case chunkData:
				binary.BigEndian.PutUint32(chunks[4:], peerTSN+tsn%64)
			case chunkSack:
				binary.BigEndian.PutUint32(chunks[4:], a.out.una+tsn%64-1)
			}
		}
		v.sent = nil
		for range 3 {
			a.Receive(packetTo(a.tag, chunks))
			a.Flush()
			a.onTimer()
		}
		if held := a.in.waiting; held > receiveWindow {
			t.Errorf("holds %d bytes", held)
		}
		check(t, a)
	})
}

// check looks whether the sender's books are right.
func check(t *testing.T, a *Association) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.out
	inflight, pending, lost := 0, 0, 0
	for tsn := s.una; tsn != s.next; tsn++ {
		switch c := s.at(tsn); {
		case c.gone:
		case c.lost:
			lost++
		default:
			pending++
			inflight += c.size
		}
	}
	if a.state != ended && (inflight != s.inflight || pending != s.pending.n || lost != s.lost.n) {
		t.Errorf("%d bytes, %d packets and %d lost ones; counted %d, %d, %d", s.inflight, s.pending.n, s.lost.n, inflight, pending, lost)
	}
}

// FuzzHello parses the values of INIT and INIT-ACK.
func FuzzHello(f *testing.F) {
	h := hello{tag: 1, rwnd: 1, out: 1, in: 1, cookie: []byte{1}}
	f.Add(h.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseHello(b); err == nil && len(h.cookie) > maxCookie {
			t.Errorf("a cookie of %d bytes", len(h.cookie))
		}
	})
}

// TestMangledPackets has a path that changes bytes: a checksum finds that, and all arrives.
func TestMangledPackets(t *testing.T) {
	var n atomic.Int64
	mangle := func(b []byte) []byte {
		if i := int(n.Add(1)); i%50 == 0 {
			putChecksum(b)
			b[headerSize+i%(len(b)-headerSize)]++
		}
		return b
	}
	transferred(t, path{rate: 12.5e6, delay: 5 * time.Millisecond, mangle: mangle}, path{delay: 5 * time.Millisecond, mangle: mangle}, 4<<20)
}
