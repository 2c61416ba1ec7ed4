package disk

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/causeway-bt/causeway/wire"
)

func TestBlocksInAnyOrderFromManyPeers(t *testing.T) {
	tr := newTorrent(t, entry{path: "f", length: 20*pieceLength + 1000})
	dir := t.TempDir()
	s := start(t, tr, dir, nil)
	pieces := make([]*Piece, tr.NumPieces())
	type place struct{ piece, block int }
	var todo []place
	for i := range pieces {
		pieces[i] = s.begin(i)
		for b := range NumBlocks(tr.PieceSize(i)) {
			todo = append(todo, place{i, b}, place{i, b}) // each comes twice
		}
	}
	rand.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
	var peers sync.WaitGroup
	for part := range slices.Chunk(todo, len(todo)/4+1) {
		peers.Go(func() {
			for _, at := range part {
				p, b := pieces[at.piece], s.memory.Get()
				copy(b[:p.BlockLen(at.block)], tr.piece(at.piece)[at.block*wire.BlockSize:])
				if !p.Put(at.block, b, nil) {
					s.memory.Put(b)
				}
			}
		})
	}
	peers.Wait()
	for range pieces {
		if r := <-s.results; !r.OK {
			t.Errorf("piece %d: %v", r.Piece, r.Err)
		}
	}
	s.wantPieces(0, 7, 20)
	wantFile(t, filepath.Join(dir, "f"), tr.data)
	s.Wait()
	if s.memory.Reserved() != 0 || s.memory.lent != 0 || s.memory.free != nil {
		t.Errorf("afterwards %d bytes are reserved, %d blocks lent, %d kept", s.memory.Reserved(), s.memory.lent, len(s.memory.free))
	}
}

func TestWrongData(t *testing.T) {
	tr := newTorrent(t, entry{path: "f", length: pieceLength})
	dir := t.TempDir()
	s := start(t, tr, dir, nil)
	attempt := func(suspect bool, from []string, wrong int) Result {
		p := s.Begin(0, false, suspect)
		for i, who := range from {
			b := s.memory.Get()
			copy(b[:], tr.data[i*wire.BlockSize:])
			if i == wrong {
				b[5]++
			}
			p.Put(i, b, who)
		}
		return <-s.results
	}
	bad := attempt(false, []string{"a", "a", "b", "a"}, 2)
	if bad.OK || bad.Err != nil || fmt.Sprint(bad.From) != "[a a b a]" || len(bad.Digests) != 4 {
		t.Fatalf("wrong data ended as %+v", bad)
	}
	if exists(filepath.Join(dir, "f")) {
		t.Error("wrong data was written")
	}
	good := attempt(true, []string{"c", "c", "c", "c"}, -1)
	if !good.OK || len(good.Digests) != 4 {
		t.Fatalf("right data of a suspect piece ended as %+v", good)
	}
	for i := range 4 {
		if (good.Digests[i] == bad.Digests[i]) != (i != 2) {
			t.Errorf("block %d: the digests do not tell right from wrong", i)
		}
	}
	if good = attempt(false, []string{"c", "c", "c", "c"}, -1); good.Digests != nil {
		t.Error("digests were made for nothing")
	}
}

func TestDropAtAnyMoment(t *testing.T) {
	tr := newTorrent(t, entry{path: "f", length: 16 * wire.BlockSize})
	s := start(t, tr, t.TempDir(), nil)
	for range 300 {
		p := s.begin(0)
		var peers sync.WaitGroup
		peers.Go(func() {
			for i := range NumBlocks(tr.PieceSize(0)) {
				b := s.memory.Get()
				copy(b[:], tr.data[i*wire.BlockSize:])
				if !p.Put(i, b, nil) {
					s.memory.Put(b)
				}
			}
		})
		peers.Go(func() { p.Drop() })
		peers.Wait()
		p.Drop()
		s.Wait()
		if !p.Has(0) {
			t.Fatal("a dropped piece asks for blocks")
		}
	}
	if s.memory.Reserved() != 0 || s.memory.lent != 0 {
		t.Errorf("%d bytes are reserved, %d blocks lent", s.memory.Reserved(), s.memory.lent)
	}
}

func TestMemoryIsReused(t *testing.T) {
	m := NewMemory(1)
	a, b := m.Get(), m.Get()
	m.Put(a, nil, b)
	var mine account
	m.reserve(&mine, 1, false)
	c := m.Get()
	m.Put(c)
	if m.Get() != c {
		t.Error("the block used last is not lent first")
	}
	m.Put(c)
	m.release(&mine, 1)
	if m.free != nil {
		t.Error("memory is kept when nothing is reserved")
	}
}

func TestSplit(t *testing.T) {
	parts := [][]byte{[]byte("abc"), {}, []byte("de"), []byte("f")}
	all := bytes.Join(parts, nil)
	for n := range int64(len(all) + 1) {
		head, tail := split(parts, n)
		if got := bytes.Join(head, nil); !bytes.Equal(got, all[:n]) {
			t.Errorf("head of %d: %q", n, got)
		}
		if got := bytes.Join(tail, nil); !bytes.Equal(got, all[n:]) {
			t.Errorf("tail of %d: %q", n, got)
		}
	}
	if !bytes.Equal(bytes.Join(parts, nil), all) {
		t.Error("split changed its argument")
	}
}
