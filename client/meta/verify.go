package meta

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"sync"
)

// FileState is what a check found out about a file.
type FileState int

const (
	FileOK         FileState = iota // all there and right
	FileDamaged                     // the right size, but some pieces are not right
	FileWrongSize                   // shorter or longer than it should be
	FileUnreadable                  // there, but it cannot be read
	FileMissing                     // not there
)

func (s FileState) String() string {
	return [...]string{"ok", "damaged", "wrong size", "unreadable", "missing"}[s]
}

// FileResult is the result of a check for one file. Padding files are always ok.
type FileResult struct {
	State     FileState
	Size      int64 // bytes on disk
	GoodBytes int64 // bytes of it in pieces that are right
	Err       error // why it is unreadable
}

// Result is the result of a check.
type Result struct {
	Good       []bool // by piece
	GoodPieces int
	GoodBytes  int64        // bytes in good pieces, padding included
	Files      []FileResult // as in Info.Files
}

// Complete tells whether every file is there and right.
func (r *Result) Complete() bool {
	for i := range r.Files {
		if r.Files[i].State != FileOK {
			return false
		}
	}
	return true
}

// Verify checks data in the folder root, which holds the torrent's file or
// folder called Name, on all cores. Data that is missing, damaged or unreadable
// is in the result; the error is that of ctx. progress may be nil; it gets bytes
// and is not called concurrently.
func Verify(ctx context.Context, info *Info, root string, progress func(checked, total int64)) (*Result, error) {
	return VerifyPaths(ctx, info, info.Paths(root), progress)
}

// VerifyPaths is Verify for files at the paths given, as Paths and PathsIn
// return them.
func VerifyPaths(ctx context.Context, info *Info, paths []string, progress func(checked, total int64)) (*Result, error) {
	result := &Result{Good: make([]bool, info.NumPieces()), Files: make([]FileResult, len(info.Files))}
	data := &layout{extents: make([]extent, len(info.Files)), length: info.Length, pieceLength: info.PieceLength}
	for i := range info.Files {
		file := &info.Files[i]
		found := &result.Files[i]
		if file.Pad {
			data.extents[i] = extent{offset: file.Offset, length: file.Length}
			continue
		}
		*found = examine(paths[i], file.Length)
		data.extents[i] = extent{paths[i], file.Offset, file.Length, min(found.Size, file.Length)}
	}
	var mu sync.Mutex // guards result.Files
	err := data.hashPieces(ctx, 0, func(piece int, sum []byte, err error) error {
		var unread *readError
		if errors.As(err, &unread) {
			mu.Lock()
			defer mu.Unlock()
			result.Files[unread.extent].State = FileUnreadable
			result.Files[unread.extent].Err = unread.err
		}
		result.Good[piece] = err == nil && bytes.Equal(sum, info.PieceHash(piece))
		return nil
	}, progress)
	if err != nil {
		return nil, err
	}
	result.count(info)
	return result, nil
}

// examine looks at a file without reading it.
func examine(path string, length int64) FileResult {
	size, _, err := regularSize(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return FileResult{State: FileMissing}
	case err != nil:
		return FileResult{State: FileUnreadable, Err: err}
	case size != length:
		return FileResult{State: FileWrongSize, Size: size}
	}
	return FileResult{State: FileOK, Size: size}
}

// count adds up the good pieces, in all and for each file.
func (r *Result) count(info *Info) {
	for piece, good := range r.Good {
		if good {
			r.GoodPieces++
			r.GoodBytes += info.PieceSize(piece)
		}
	}
	for i := range info.Files {
		file, found := &info.Files[i], &r.Files[i]
		for from, end := file.Offset, file.Offset+file.Length; from < end; {
			piece := from / info.PieceLength
			to := min(end, (piece+1)*info.PieceLength)
			if r.Good[piece] {
				found.GoodBytes += to - from
			}
			from = to
		}
		if found.State == FileOK && found.GoodBytes < file.Length && !file.Pad {
			found.State = FileDamaged
		}
	}
}
