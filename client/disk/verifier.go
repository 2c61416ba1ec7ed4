package disk

import (
	"bytes"
	"crypto/sha1"
	"hash"

	"github.com/causeway-bt/causeway/client/meta"
)

// Verifier says whether the data of pieces is right. It may be called from any
// goroutine.
type Verifier interface {
	// Begin returns what is to be given the bytes of a piece in order.
	Begin(piece int) Sum
}

// Sum takes in the bytes of one piece, in order and in parts of any size. It is used by
// one goroutine at a time.
type Sum interface {
	Add(p []byte)
	// Right reports whether the bytes are those of the piece, once all are in.
	Right() bool
}

// Pieces returns the verifier of torrents of version 1: a SHA-1 for each piece (BEP 3).
func Pieces(info *meta.Info) Verifier { return pieces{info} }

type pieces struct{ info *meta.Info }

func (v pieces) Begin(piece int) Sum { return &pieceSum{sha1.New(), v.info.PieceHash(piece)} }

type pieceSum struct {
	sum  hash.Hash
	want []byte
}

func (s *pieceSum) Add(p []byte) { s.sum.Write(p) } // which never fails

func (s *pieceSum) Right() bool { return bytes.Equal(s.sum.Sum(nil), s.want) }
