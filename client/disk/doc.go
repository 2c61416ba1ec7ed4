// Package disk keeps a torrent's data: in memory while a piece is incomplete, in
// files afterwards.
//
// A [Piece] collects blocks as they arrive, is hashed in order while they do, and
// is written with one call once it is whole and right. It is never read back to be
// checked. [Memory] bounds what all unfinished pieces hold. A [Storage] is one
// torrent's files; a [Pool] hashes and writes for all of them. [Store] remembers
// between runs which pieces are there, and [Owners] whose a file is (owner.go has the
// rule). What others do to the files is noticed (changes.go), and a disk that fails or
// hangs ends nothing but what was asked of it.
//
//	pool := disk.NewPool(runtime.GOMAXPROCS(0))
//	s, err := disk.Open(disk.Config{Info: info, Dir: dir, Pool: pool, Memory: mem, Done: done})
//	have, check, err := s.Plan(state) // what is there already
//	err = s.Check(ctx, check, each)   // which of the rest is right
//	err = s.Claim(have)               // whether the files may be written to
//	p := s.Begin(7, false, false)     // nil when memory is short
//	p.Put(0, block, peer)             // from any goroutine; done is called when all are in
//	s.ReadBlocks(buf, 7, 0)           // once verified
//
// It knows nothing of peers, nor of which piece should come next.
package disk
