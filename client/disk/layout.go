package disk

import (
	"sort"

	"github.com/causeway-bt/causeway/client/meta"
)

// span is a run of bytes of the torrent within one file.
type span struct {
	file   int   // index in Info.Files
	off    int64 // in the file, bytes
	length int64
}

// spans calls f for each file that the bytes [off, off+n) of the torrent lie in,
// in order, until f returns an error.
func spans(info *meta.Info, off, n int64, f func(span) error) error {
	files := info.Files
	i := sort.Search(len(files), func(i int) bool { return files[i].Offset+files[i].Length > off })
	for ; i < len(files) && n > 0; i++ {
		in := off - files[i].Offset
		length := min(n, files[i].Length-in)
		if length == 0 {
			continue
		}
		if err := f(span{i, in, length}); err != nil {
			return err
		}
		off += length
		n -= length
	}
	return nil
}

// PieceRange returns the pieces [first, end) that a file has bytes in. It is empty
// for a file of length zero.
func PieceRange(info *meta.Info, file int) (first, end int) {
	f := &info.Files[file]
	if f.Length == 0 {
		return 0, 0
	}
	return int(f.Offset / info.PieceLength), int((f.Offset+f.Length-1)/info.PieceLength) + 1
}
