package media

import (
	"encoding/binary"
	"io"
	"math"
	"math/bits"
	"time"
)

// Element IDs of RFC 8794 (EBML) and RFC 9559 (Matroska).
const (
	idEBML           = 0x1A45DFA3
	idSegment        = 0x18538067
	idInfo           = 0x1549A966
	idCluster        = 0x1F43B675
	idTimestampScale = 0x2AD7B1
	idDuration       = 0x4489
)

// defaultTimestampScale is a tick in nanoseconds (RFC 9559 §5.1.2.9).
const defaultTimestampScale = 1_000_000

type element struct {
	id         uint32
	start, end int64 // of its content
}

// readElement reads an element's header: ID and size are variable-length
// integers, the count of leading zero bits telling their length (RFC 8794 §4).
func readElement(r io.ReadSeeker, off, limit int64) (element, error) {
	var head [12]byte
	n := min(int64(len(head)), limit-off)
	if n < 2 {
		return element{}, ErrNoDuration
	}
	if err := readAt(r, off, head[:n]); err != nil {
		return element{}, err
	}
	idLen := bits.LeadingZeros8(head[0]) + 1
	if idLen > 4 || int64(idLen) >= n {
		return element{}, ErrNoDuration
	}
	var id uint32
	for _, b := range head[:idLen] {
		id = id<<8 | uint32(b)
	}
	sizeLen := bits.LeadingZeros8(head[idLen]) + 1
	if sizeLen > 8 || int64(idLen+sizeLen) > n {
		return element{}, ErrNoDuration
	}
	size := uint64(head[idLen]) & (1<<(8-sizeLen) - 1)
	for _, b := range head[idLen+1 : idLen+sizeLen] {
		size = size<<8 | uint64(b)
	}
	e := element{id: id, start: off + int64(idLen+sizeLen)}
	if size == 1<<(7*sizeLen)-1 { // unknown size: a live recording
		e.end = limit
		return e, nil
	}
	if size > uint64(limit-e.start) {
		return element{}, ErrNoDuration
	}
	e.end = e.start + int64(size)
	return e, nil
}

func findElement(r io.ReadSeeker, id uint32, off, limit int64) (element, error) {
	for range maxElements {
		e, err := readElement(r, off, limit)
		if err != nil || e.id == id {
			return e, err
		}
		if e.id == idCluster {
			break // the media begins: an Info behind it is not cheap to find
		}
		off = e.end
	}
	return element{}, ErrNoDuration
}

// matroskaDuration reads Duration and TimestampScale of the Segment's Info
// (RFC 9559 §5.1.2).
func matroskaDuration(r io.ReadSeeker, size int64) (time.Duration, error) {
	head, err := readElement(r, 0, size)
	if err != nil {
		return 0, err
	}
	if head.id != idEBML {
		return 0, ErrNoDuration
	}
	segment, err := findElement(r, idSegment, head.end, size)
	if err != nil {
		return 0, err
	}
	info, err := findElement(r, idInfo, segment.start, segment.end)
	if err != nil {
		return 0, err
	}
	scale, ticks := float64(defaultTimestampScale), 0.0
	for off, n := info.start, 0; off < info.end && n < maxElements; n++ {
		e, err := readElement(r, off, info.end)
		if err != nil {
			return 0, err
		}
		switch e.id {
		case idTimestampScale:
			v, err := readUint(r, e)
			if err != nil {
				return 0, err
			}
			scale = float64(v)
		case idDuration:
			if ticks, err = readFloat(r, e); err != nil {
				return 0, err
			}
		}
		off = e.end
	}
	return seconds(ticks*scale, float64(time.Second))
}

func readUint(r io.ReadSeeker, e element) (uint64, error) {
	n := e.end - e.start
	if n > 8 {
		return 0, ErrNoDuration
	}
	var buf [8]byte
	if err := readAt(r, e.start, buf[8-n:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(buf[:]), nil
}

func readFloat(r io.ReadSeeker, e element) (float64, error) {
	v, err := readUint(r, e)
	if err != nil {
		return 0, err
	}
	switch e.end - e.start {
	case 4:
		return float64(math.Float32frombits(uint32(v))), nil
	case 8:
		return math.Float64frombits(v), nil
	default:
		return 0, ErrNoDuration
	}
}
