package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// ErrNoDuration means that the container states no duration that can be read
// cheaply, or is of a kind this package does not read.
var ErrNoDuration = errors.New("no duration in the container's header")

const (
	// maxElements bounds how many headers are looked at per level, each of
	// which may cost a round trip to a peer.
	maxElements = 64
	// maxDuration is longer than any film; what claims more is broken.
	maxDuration = 1000 * time.Hour
)

// HasDuration reports whether Duration can read containers of that name.
func HasDuration(name string) bool { return durationReader(name) != nil }

func durationReader(name string) func(io.ReadSeeker, int64) (time.Duration, error) {
	switch strings.ToLower(path.Ext(name)) {
	case ".mp4", ".m4v", ".m4a", ".m4b", ".mov", ".qt", ".3gp", ".3g2", ".f4v":
		return mp4Duration
	case ".mkv", ".mka", ".mk3d", ".webm", ".weba":
		return matroskaDuration
	default:
		return nil
	}
}

// Duration reads how long a file plays from its container's header, seeking
// over everything else: a few dozen bytes of MP4 or Matroska. The name's
// extension picks the container; size is the file's in bytes. The error wraps
// ErrNoDuration, or is the reader's.
func Duration(r io.ReadSeeker, size int64, name string) (time.Duration, error) {
	read := durationReader(name)
	if read == nil {
		return 0, fmt.Errorf("read duration of %q: %w", name, ErrNoDuration)
	}
	d, err := read(r, size)
	if err != nil {
		return 0, fmt.Errorf("read duration of %q: %w", name, err)
	}
	return d, nil
}

// readAt fills buf from offset off. An end of file is a broken container.
func readAt(r io.ReadSeeker, off int64, buf []byte) error {
	if _, err := r.Seek(off, io.SeekStart); err != nil {
		return err
	}
	_, err := io.ReadFull(r, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrNoDuration
	}
	return err
}

// seconds turns a count of units, so many to the second, into a duration.
func seconds(units, perSecond float64) (time.Duration, error) {
	d := units / perSecond * float64(time.Second)
	if !(d > 0 && d < float64(maxDuration)) { // NaN too
		return 0, ErrNoDuration
	}
	return time.Duration(d), nil
}

// box is the header of an ISO base media box (ISO/IEC 14496-12 §4.2).
type box struct {
	kind       string
	start, end int64 // of its content
}

func readBox(r io.ReadSeeker, off, limit int64) (box, error) {
	var head [16]byte
	if limit-off < 8 {
		return box{}, ErrNoDuration
	}
	if err := readAt(r, off, head[:8]); err != nil {
		return box{}, err
	}
	b := box{kind: string(head[4:8]), start: off + 8}
	switch size := int64(binary.BigEndian.Uint32(head[:4])); size {
	case 0: // to the end of the file
		b.end = limit
	case 1: // 64-bit size follows
		if limit-off < 16 {
			return box{}, ErrNoDuration
		}
		if err := readAt(r, off+8, head[8:]); err != nil {
			return box{}, err
		}
		large := binary.BigEndian.Uint64(head[8:])
		if large > uint64(limit-off) {
			return box{}, ErrNoDuration
		}
		b.start, b.end = off+16, off+int64(large)
	default:
		b.end = off + size
	}
	if b.end < b.start || b.end > limit {
		return box{}, ErrNoDuration
	}
	return b, nil
}

func findBox(r io.ReadSeeker, kind string, off, limit int64) (box, error) {
	for range maxElements {
		b, err := readBox(r, off, limit)
		if err != nil || b.kind == kind {
			return b, err
		}
		off = b.end
	}
	return box{}, ErrNoDuration
}

// mp4Duration reads the movie header (mvhd, ISO/IEC 14496-12 §8.2.2).
func mp4Duration(r io.ReadSeeker, size int64) (time.Duration, error) {
	moov, err := findBox(r, "moov", 0, size)
	if err != nil {
		return 0, err
	}
	mvhd, err := findBox(r, "mvhd", moov.start, moov.end)
	if err != nil {
		return 0, err
	}
	var body [32]byte
	if mvhd.end-mvhd.start < int64(len(body)) {
		return 0, ErrNoDuration
	}
	if err := readAt(r, mvhd.start, body[:]); err != nil {
		return 0, err
	}
	if body[0] == 1 { // 64-bit times
		return seconds(float64(binary.BigEndian.Uint64(body[24:])), float64(binary.BigEndian.Uint32(body[20:])))
	}
	return seconds(float64(binary.BigEndian.Uint32(body[16:])), float64(binary.BigEndian.Uint32(body[12:])))
}
