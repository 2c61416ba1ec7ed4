package disk

import (
	"testing"

	"github.com/causeway-bt/causeway/wire"
)

// BenchmarkDownload is a block's way in: its memory, its piece, the hash and the write.
func BenchmarkDownload(b *testing.B) {
	tr := newTorrent(b, entry{"a", 300 * pieceLength / 2, ""}, entry{"b", 300 * pieceLength / 2, ""})
	s := start(b, tr, b.TempDir(), nil)
	b.SetBytes(wire.BlockSize)
	b.ReportAllocs()
	piece, block := -1, 4
	var p *Piece
	pending := 0
	for b.Loop() {
		if block == 4 {
			for pending > 50 {
				<-s.results
				pending--
			}
			piece, block = (piece+1)%300, 0
			p = s.begin(piece)
		}
		buf := s.memory.Get()
		copy(buf[:], tr.piece(piece)[block*wire.BlockSize:])
		p.Put(block, buf, "peer")
		if block++; block == 4 {
			pending++
		}
	}
	if block != 4 {
		p.Drop()
	}
	for range pending {
		<-s.results
	}
}

// BenchmarkReadBlocks is a block's way out.
func BenchmarkReadBlocks(b *testing.B) {
	tr := newTorrent(b, entry{"f", 32 * pieceLength, ""})
	s := start(b, tr, b.TempDir(), nil)
	s.must(s.download(all(tr)...))
	buf := make([]byte, wire.BlockSize)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	i := uint32(0)
	for b.Loop() {
		if err := s.ReadBlocks(buf, i/4%32, i%4*wire.BlockSize); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkReadBlocksInParallel is that from many peers.
func BenchmarkReadBlocksInParallel(b *testing.B) {
	tr := newTorrent(b, entry{"f", 32 * pieceLength, ""})
	s := start(b, tr, b.TempDir(), nil)
	s.must(s.download(all(tr)...))
	b.SetBytes(wire.BlockSize)
	b.RunParallel(func(pb *testing.PB) {
		buf := make([]byte, wire.BlockSize)
		for i := uint32(0); pb.Next(); i++ {
			if err := s.ReadBlocks(buf, i/4%32, i%4*wire.BlockSize); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
