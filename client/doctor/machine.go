package doctor

import (
	"context"
	"crypto/sha1"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
)

const (
	// sparseSize is the file by which it is seen whether files can have holes.
	sparseSize = 64 << 20
	// hashTime is how long hashing is measured, over hashBlock at a time: what has to be read
	// from memory, and not from a cache.
	hashTime  = 200 * time.Millisecond
	hashBlock = 16 << 20
	// littleSpace is worth a word.
	littleSpace = 1 << 30
	// slowHash is less than common lines have, in bytes per second.
	slowHash = 12 << 20
	// enoughFiles is what a client with all its connections may have open.
	enoughFiles = 1024
	leastFiles  = 256
)

// checkFiles looks at the limit of open files.
func (v *visit) checkFiles(context.Context) {
	n := v.cfg.OpenFiles
	details := struct {
		Limit int `json:"limit"` // 0: none
	}{n}
	const advice = "Raise it: `ulimit -n 4096` in the shell, or LimitNOFILE= of a systemd unit"
	switch {
	case n == 0:
		v.addDetails(nameFiles, OK, "", details, "There is no limit of open files")
	case n < leastFiles:
		v.addDetails(nameFiles, Fail, advice, details, "Only %d files may be open: connections will fail", n)
	case n < enoughFiles:
		v.addDetails(nameFiles, Warn, advice, details, "Only %d files may be open: with many peers, connections will fail", n)
	default:
		v.addDetails(nameFiles, OK, "", details, "%d files may be open", n)
	}
}

// diskDetails are those of "disk".
type diskDetails struct {
	Folder string `json:"folder"`
	Free   int64  `json:"free"`      // bytes; -1: not known
	Sparse *bool  `json:"sparse"`    // null: not known
	Hash   int64  `json:"hash_rate"` // bytes per second, of one processor
}

// checkDisk looks at the folder that downloads go to.
func (v *visit) checkDisk(ctx context.Context) {
	details := diskDetails{Folder: v.cfg.Dir, Free: -1, Hash: hashRate(ctx)}
	sparse, err := trySparse(v.cfg.Dir)
	details.Sparse = sparse
	if free, freeErr := freeSpace(existing(v.cfg.Dir)); freeErr == nil {
		details.Free = free
	}
	var wanted int64
	if src := v.cfg.Source; src != nil && src.Torrent != nil {
		wanted = src.Torrent.Info.Length
	}
	size := func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
	switch {
	case err != nil:
		v.addDetails(nameDisk, Fail, diskAdvice(err), details, "Nothing can be written to %s: %v", v.cfg.Dir, cause(err))
	case details.Free >= 0 && details.Free < wanted:
		v.addDetails(nameDisk, Fail, "Make room, or choose another folder with -o", details, "%s has %s free, and the torrent has %s", v.cfg.Dir, size(details.Free), size(wanted))
	case details.Free >= 0 && details.Free < littleSpace:
		v.addDetails(nameDisk, Warn, "Make room, or choose another folder with -o", details, "%s has only %s free", v.cfg.Dir, size(details.Free))
	case sparse != nil && !*sparse:
		v.addDetails(nameDisk, Warn, "Expect downloads to begin slowly: each file is filled with zeros first. A file system with sparse files does without", details,
			"The file system of %s has no sparse files", v.cfg.Dir)
	case details.Hash < slowHash:
		v.addDetails(nameDisk, Warn, "", details, "%s can be written; this machine checks only %s/s with each processor", v.cfg.Dir, size(details.Hash))
	default:
		free := ""
		if details.Free >= 0 {
			free = ", " + size(details.Free) + " free"
		}
		v.addDetails(nameDisk, OK, "", details, "%s can be written%s; pieces are checked at %s/s with each processor", v.cfg.Dir, free, size(details.Hash))
	}
}

// existing is the folder, or the first above it that is there.
func existing(dir string) string {
	dir, err := filepath.Abs(dir)
	for err == nil {
		if _, statErr := os.Stat(dir); statErr == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

// trySparse writes a file that is one hole but for its end, and removes it. It returns nil
// where the system does not tell.
func trySparse(dir string) (sparse *bool, err error) {
	file, err := os.CreateTemp(existing(dir), ".causeway-doctor-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if _, err := file.WriteAt([]byte{1}, sparseSize-1); err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if taken, ok := spaceTaken(info); ok {
		is := taken < sparseSize/2
		sparse = &is
	}
	return sparse, nil
}

// hashRate measures SHA-1, in bytes per second.
func hashRate(ctx context.Context) int64 {
	block := make([]byte, hashBlock)
	h := sha1.New()
	began := time.Now()
	var n int64
	for time.Since(began) < hashTime && ctx.Err() == nil {
		h.Write(block)
		n += hashBlock
	}
	return int64(float64(n) / time.Since(began).Seconds())
}

func diskAdvice(err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "The file system is mounted read-only: mount it for writing, or choose another folder with -o"
	case errors.Is(err, fs.ErrPermission):
		return "Give yourself the right to write there, or choose another folder with -o"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "Make room, or choose another folder with -o"
	}
	return "Choose another folder with -o"
}

// cause is what the system said, without the name of our own file.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// checkState looks at the folder of the resume state.
func (v *visit) checkState(context.Context) {
	dir := v.cfg.Client.StateDir
	if dir == "" {
		v.add(nameState, None, "", "No resume state is kept")
		return
	}
	err := os.MkdirAll(dir, 0o777)
	if err == nil {
		var file *os.File
		if file, err = os.CreateTemp(dir, ".causeway-doctor-*"); err == nil {
			err = errors.Join(file.Close(), os.Remove(file.Name()))
		}
	}
	if err != nil {
		v.add(nameState, Fail, "Choose another folder with --state; without, a download does not go on where it was", "The state folder %s cannot be written: %v", dir, cause(err))
		return
	}
	v.add(nameState, OK, "", "The state folder %s can be written", dir)
}
