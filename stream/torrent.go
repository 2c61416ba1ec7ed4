package stream

import (
	"context"
	"io"
	"os"
	"time"
)

// Torrent is what this package needs to know of a torrent whose metadata is
// known. Its methods are called from many goroutines at once.
type Torrent interface {
	// InfoHash is the infohash in lower-case hex. It names the content, so that
	// URLs and ETags made of it hold forever.
	InfoHash() string
	// Name is the torrent's display name, and the folder's in multi-file torrents.
	Name() string
	// PieceLength is in bytes.
	PieceLength() int64
	// Files are the torrent's files in metadata order, padding files (BEP 47)
	// included, so that their indices are those of every other part of the program.
	Files() []File
}

// File is one file of a torrent. Its methods are called from many goroutines at once.
type File interface {
	// Path is slash-separated, relative to the torrent's folder.
	Path() string
	// Length is in bytes.
	Length() int64
	// ModTime is when the content was last changed, or zero if that is not known.
	ModTime() time.Time
	// Open returns a new reader at position 0 with a window of 0. When ctx ends,
	// its Read returns ctx's error at once.
	Open(ctx context.Context) (Reader, error)
}

// Reader reads one file in order. It is used by one goroutine at a time.
type Reader interface {
	// Read blocks until verified bytes at the position are there, and returns
	// those that are, without waiting for more. Seek drops the old window at
	// once; Close too, and frees everything.
	io.ReadSeekCloser

	// SetWindow says how many bytes ahead of the position are wanted soon, the
	// nearest first. The window moves along with the position. At 0 nothing is
	// wanted but what a blocked Read waits for. It returns for how many of them the
	// engine has room.
	SetWindow(bytes int64) int64

	// Buffered returns how many verified bytes there are ahead of the position
	// without a gap.
	Buffered() int64

	// Section finds verified bytes on disk: f holds those of [off, off+avail)
	// at fileOff, with 0 < avail <= n. It may find fewer than there are, or say
	// no whenever that is easier. The handle is this reader's alone, its own
	// offset is the caller's to move, and it is valid until Close. The bytes stay
	// while the reader's position is not beyond them.
	Section(off, n int64) (f *os.File, fileOff, avail int64, ok bool)
}
