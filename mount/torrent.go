package mount

import (
	"context"
	"io"
	"os"
	"time"
)

// Torrent is what this package needs to know of a torrent whose metadata is known. Its
// methods are called from many goroutines at once.
type Torrent interface {
	// InfoHash is the infohash in lower-case hex.
	InfoHash() string
	// Name is a safe name for its folder.
	Name() string
	// Created is when the torrent was made, zero if that is not known.
	Created() time.Time
	// PieceLength is in bytes.
	PieceLength() int64
	// NumFiles counts padding files too; File describes one of them. The paths are
	// safe, and no two files have the same.
	NumFiles() int
	File(index int) File
	// Open returns a new reader with a window of 0. When ctx ends, waiting ends.
	Open(ctx context.Context, index int) (Reader, error)
	// Completed is how many bytes of a file are verified, of the torrent with -1.
	Completed(index int) int64
	// Arrived is how much of the piece at a file's offset has come so far, as long as it
	// is not whole: a number that grows while somebody sends it.
	Arrived(index int, off int64) int
	// Rate is at how many bytes per second it downloads.
	Rate() float64
}

// File is one file of a torrent.
type File struct {
	Path       []string // under the torrent's folder; never empty
	Length     int64    // bytes
	Hidden     bool     // padding, or not selected
	Executable bool
	// Link is what a symbolic link points to, a path under the torrent's folder; nil for
	// other files.
	Link []string
}

// Reader reads one file of a torrent while it is fetched. ReadNow and Await are called by many
// goroutines at once, the other methods by one at a time.
type Reader interface {
	// ReadNow reads as many of the verified bytes at off as there are, without waiting.
	ReadNow(p []byte, off int64) (int, error)
	// Await waits until the byte at off is there, before which nothing else is asked of
	// peers. When ctx ends, it returns its cause.
	Await(ctx context.Context, off int64) error
	// Seek (from the start) moves the position, from which on SetWindow says how many
	// bytes are wanted soon. It returns for how many there is room.
	io.Seeker
	SetWindow(bytes int64) int64
	// Section finds verified bytes on disk: f holds those of [off, off+avail) at fileOff,
	// with avail at most n. It may find fewer than there are, or say no. f is valid
	// until Close.
	Section(off, n int64) (f *os.File, fileOff, avail int64, ok bool)
	io.Closer
}
