package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"
	"testing/iotest"
)

// collect reads all messages of src. Payloads are copied; the blocks of Piece
// messages come as their payload.
func collect(src io.Reader) (ms []Message, err error) {
	r := NewReader(src)
	for {
		var m Message
		if err := r.Next(&m); err != nil {
			return ms, err
		}
		m.Payload = bytes.Clone(m.Payload)
		if m.ID == Piece {
			m.Payload = make([]byte, m.Length)
			if err := r.ReadBlock(m.Payload); err != nil {
				return ms, err
			}
		}
		ms = append(ms, m)
	}
}

// conversation is a stream with every message, blocks of many sizes among them.
func conversation(t testing.TB) (stream []byte, want []Message) {
	rng := rand.NewChaCha8([32]byte{1})
	add := func(m Message) {
		stream = m.AppendTo(stream)
		if m.ID == Piece {
			m.Payload = make([]byte, m.Length)
			rng.Read(m.Payload)
			stream = append(stream, m.Payload...)
		}
		want = append(want, m)
	}
	for i, g := range golden {
		m := g.message
		if m.ID == Piece {
			m.Length = []uint32{0, 1, 4095, 4096, BlockSize}[i%5]
		}
		add(m)
	}
	for _, n := range []uint32{0, 1, 12, 4082, 4083, 4084, BlockSize, MaxBlock} {
		add(Message{ID: Piece, Index: n, Length: n})
	}
	add(Message{ID: BitfieldID, Payload: make([]byte, 5000)})
	add(Message{ID: BitfieldID, Payload: []byte{1}})
	return stream, want
}

func TestReaderAtEveryFragmentation(t *testing.T) {
	stream, want := conversation(t)
	readers := map[string]io.Reader{
		"whole":        bytes.NewReader(stream),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
		"halves":       iotest.HalfReader(bytes.NewReader(stream)),
		"EOF at once":  iotest.DataErrReader(bytes.NewReader(stream)),
	}
	for name, src := range readers {
		got, err := collect(src)
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v, want io.EOF", name, err)
		}
		if !reflect.DeepEqual(normal(got), normal(want)) {
			t.Errorf("%s: %d messages differ from those written", name, len(got))
		}
	}
}

// normal makes nil of empty payloads.
func normal(ms []Message) []Message {
	for i := range ms {
		if len(ms[i].Payload) == 0 {
			ms[i].Payload = nil
		}
	}
	return ms
}

func TestReaderCutAtEveryByte(t *testing.T) {
	var stream []byte
	for _, g := range golden {
		stream = g.message.AppendTo(stream)
		stream = append(stream, make([]byte, g.message.pieceLength())...)
	}
	boundary := map[int]bool{0: true}
	at := 0
	for _, g := range golden {
		at += len(g.message.AppendTo(nil)) + g.message.pieceLength()
		boundary[at] = true
	}
	for cut := range stream {
		want := io.ErrUnexpectedEOF
		if boundary[cut] {
			want = io.EOF
		}
		first, second := bytes.NewReader(stream[:cut]), bytes.NewReader(stream[cut:])
		if _, err := collect(first); !errors.Is(err, want) {
			t.Errorf("cut at %d: %v, want %v", cut, err, want)
		}
		first.Seek(0, io.SeekStart)
		if ms, err := collect(io.MultiReader(first, second)); !errors.Is(err, io.EOF) || len(ms) != len(golden) {
			t.Errorf("split at %d: %d messages, %v", cut, len(ms), err)
		}
	}
}

// destination notes the memory that it is asked to read into.
type destination struct {
	io.Reader
	into [][]byte
}

func (d *destination) Read(p []byte) (int, error) {
	d.into = append(d.into, p)
	return d.Reader.Read(p)
}

func TestBlocksAreReadStraightIntoMemory(t *testing.T) {
	m := Message{ID: Piece, Length: BlockSize}
	src := &destination{Reader: bytes.NewReader(append(m.AppendTo(nil), make([]byte, BlockSize)...))}
	r := NewReader(src)
	if err := r.Next(&m); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, BlockSize)
	if err := r.ReadBlock(block); err != nil {
		t.Fatal(err)
	}
	if len(src.into) != 2 {
		t.Fatalf("%d reads for one block, want 2", len(src.into))
	}
	last := src.into[1]
	if &last[len(last)-1] != &block[BlockSize-1] {
		t.Error("the end of the block was not read into the caller's memory")
	}
}

func TestReadBlockIntoMemoryOfAnotherSize(t *testing.T) {
	m := Message{ID: Piece, Length: 10}
	r := NewReader(bytes.NewReader(append(m.AppendTo(nil), make([]byte, 10)...)))
	if err := r.Next(&m); err != nil {
		t.Fatal(err)
	}
	if err := r.ReadBlock(make([]byte, 11)); err == nil {
		t.Error("a block of 10 bytes was read into 11")
	}
}

func TestWhatIsNotReadOfABlockIsSkipped(t *testing.T) {
	piece := Message{ID: Piece, Length: BlockSize}
	var stream []byte
	for range 3 {
		stream = append(piece.AppendTo(stream), make([]byte, BlockSize)...)
	}
	have := Message{ID: Have, Index: 5}
	stream = have.AppendTo(stream)
	r := NewReader(iotest.HalfReader(bytes.NewReader(stream)))
	var ids []ID
	for range 4 {
		var m Message
		if err := r.Next(&m); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.ID)
	}
	if !reflect.DeepEqual(ids, []ID{Piece, Piece, Piece, Have}) {
		t.Errorf("read %v", ids)
	}
}

func TestUnknownMessagesArePassedOver(t *testing.T) {
	stream := unhex(t, "00000004 fe 010203  00000001 15  00000001 ff  00000005 04 00000009")
	ms, err := collect(bytes.NewReader(stream))
	if !errors.Is(err, io.EOF) || len(ms) != 1 || ms[0].ID != Have || ms[0].Index != 9 {
		t.Errorf("read %+v, %v, want the Have alone", ms, err)
	}
}

func TestMessagesThatBreakTheProtocol(t *testing.T) {
	for name, stream := range map[string]string{
		"choke with a body":         "00000002 00 00",
		"have too short":            "00000004 04 000000",
		"have too long":             "00000006 04 0000000000",
		"request too short":         "0000000c 06 0000000000000000000000",
		"piece without an offset":   "00000005 07 00000000",
		"piece of a huge block":     "00020010 07 00000000 00000000",
		"piece of 4 GiB":            "ffffffff 07 00000000 00000000",
		"port of one byte":          "00000002 09 00",
		"bitfield of 4 GiB":         "ffffffff 05",
		"bitfield too long":         "00100002 05",
		"extended without a number": "00000001 14",
		"extended of 4 GiB":         "ffffffff 14 00",
		"unknown of 4 GiB":          "ffffffff 63",
	} {
		var broken *ProtocolError
		if _, err := collect(bytes.NewReader(unhex(t, stream))); !errors.As(err, &broken) {
			t.Errorf("%s: %v, want a ProtocolError", name, err)
		}
	}
}

// endless claims a long message and delivers little of it.
type endless struct {
	head []byte
	left int
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.head) > 0 {
		n := copy(p, e.head)
		e.head = e.head[n:]
		return n, nil
	}
	if e.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(p), e.left)
	e.left -= n
	return n, nil
}

func TestMemoryFollowsWhatComesNotWhatIsClaimed(t *testing.T) {
	for _, id := range []ID{BitfieldID, Extended} {
		claim := binary.BigEndian.AppendUint32(nil, MaxExtended)
		claim = append(claim, byte(id))
		const runs = 50
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			collect(&endless{head: claim, left: 100})
		}
		runtime.ReadMemStats(&after)
		bytesPerRun := (after.TotalAlloc - before.TotalAlloc) / runs
		if bytesPerRun > 3*readBuffer {
			t.Errorf("%v: %d bytes allocated for 100 that came", id, bytesPerRun)
		}
	}
}

func TestReaderReusesItsMemory(t *testing.T) {
	ext := Message{ID: Extended, Payload: make([]byte, keptPayload-1)}
	piece := Message{ID: Piece, Length: BlockSize}
	stream := append(piece.AppendTo(ext.AppendTo(nil)), make([]byte, BlockSize)...)
	src := &loop{data: stream}
	r, block := NewReader(src), make([]byte, BlockSize)
	var m Message
	read := func() {
		for range 2 {
			if err := r.Next(&m); err != nil {
				t.Fatal(err)
			}
			if m.ID == Piece {
				if err := r.ReadBlock(block); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	read()
	if n := testing.AllocsPerRun(100, read); n != 0 {
		t.Errorf("%v allocations for an extended message and a block, want none", n)
	}
}

// loop reads the same bytes over and over.
type loop struct {
	data []byte
	at   int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.data[l.at:])
	l.at = (l.at + n) % len(l.data)
	return n, nil
}

func FuzzReader(f *testing.F) {
	stream, _ := conversation(f)
	f.Add(stream[:2000], 7)
	for _, g := range golden {
		f.Add(g.message.AppendTo(nil), 1)
	}
	f.Add(unhex(f, "ffffffff 05"), 1)
	f.Fuzz(func(t *testing.T, stream []byte, step int) {
		whole, err := collect(bytes.NewReader(stream))
		if err == nil {
			t.Fatal("no error at the end")
		}
		total := 0
		for _, m := range whole {
			total += len(m.Payload)
		}
		if total > len(stream) {
			t.Fatalf("%d bytes of payload out of %d", total, len(stream))
		}
		pieces, err2 := collect(&stepReader{data: stream, step: step&0xff + 1})
		if !reflect.DeepEqual(normal(whole), normal(pieces)) || err.Error() != err2.Error() {
			t.Fatalf("in one piece: %+v, %v; in many: %+v, %v", whole, err, pieces, err2)
		}
	})
}

// stepReader reads at most step bytes at a time.
type stepReader struct {
	data []byte
	step int
}

func (s *stepReader) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.data)
	s.data = s.data[n:]
	return n, nil
}

// budget is a Budget of so many bytes.
type budget int64

func (b *budget) Take(n int64) bool {
	if n > int64(*b) {
		return false
	}
	*b -= budget(n)
	return true
}

func (b *budget) Release(n int64) { *b += budget(n) }

func TestLongPayloadsTakeFromABudget(t *testing.T) {
	long := Message{ID: BitfieldID, Payload: bytes.Repeat([]byte{7}, MaxBitfield)}
	ext := Message{ID: Extended, Ext: 3, Payload: bytes.Repeat([]byte{9}, MaxExtended)}
	short := Message{ID: Extended, Ext: 3, Payload: bytes.Repeat([]byte{5}, 16<<10)}
	var stream []byte
	for _, m := range []Message{long, ext, short, {ID: Choke}} {
		stream = m.AppendTo(stream)
	}
	for _, all := range []budget{0, MaxExtended, MaxExtended + 1, MaxBitfield / 2, MaxBitfield} {
		left := all
		r := NewReader(iotest.OneByteReader(bytes.NewReader(stream)))
		r.Bound(&left, nil)
		var got []Message
		for {
			var m Message
			if err := r.Next(&m); err != nil {
				break
			}
			if len(m.Payload) > keptPayload && all-left < budget(len(m.Payload)) {
				t.Errorf("of %d: a payload of %d bytes took %d", all, len(m.Payload), all-left)
			}
			got = append(got, m)
		}
		if r.Close(); left != all {
			t.Errorf("of %d: %d are left at the end", all, left)
		}
		n := 3
		if all > MaxExtended {
			n = 4
		}
		if len(got) != n || got[0].ID != BitfieldID || got[n-1].ID != Choke || len(got[n-2].Payload) != len(short.Payload) {
			t.Fatalf("of %d: %d messages came", all, len(got))
		}
		if whole := len(got[0].Payload) == MaxBitfield; whole != (all >= MaxBitfield) || !whole && got[0].Payload != nil {
			t.Errorf("of %d: the bitfield has %d bytes", all, len(got[0].Payload))
		}
	}
}

func TestBitfieldsOfTheRightLengthTakeNothing(t *testing.T) {
	long := Message{ID: BitfieldID, Payload: bytes.Repeat([]byte{7}, MaxBitfield)}
	stream := long.AppendTo(nil)
	for length, right := range map[int]bool{MaxBitfield: true, MaxBitfield - 1: false, 1: false} {
		r := NewReader(bytes.NewReader(stream))
		r.Bound(new(budget), func() int { return length })
		var m Message
		err := r.Next(&m)
		if bad := (*ProtocolError)(nil); right != (err == nil) || err != nil && !errors.As(err, &bad) || right && len(m.Payload) != MaxBitfield {
			t.Errorf("of %d bytes wanted: %d, %v", length, len(m.Payload), err)
		}
	}
}

func TestLongPayloadsAreNotKept(t *testing.T) {
	var stream []byte
	for _, m := range []Message{{ID: BitfieldID, Payload: make([]byte, MaxBitfield)}, {ID: Choke}} {
		stream = m.AppendTo(stream)
	}
	r := NewReader(bytes.NewReader(stream))
	var m Message
	for range 2 {
		if err := r.Next(&m); err != nil {
			t.Fatal(err)
		}
	}
	if cap(r.payload) > keptPayload {
		t.Errorf("%d bytes are kept for the life of the connection", cap(r.payload))
	}
}
