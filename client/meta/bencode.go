package meta

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// maxDepth bounds the nesting of lists and dictionaries. v1 needs 5 levels; the
// file tree of a hybrid torrent needs one more for each folder.
const maxDepth = 128

// maxIntDigits bounds an integer: a sign and the 19 digits of an int64. Longer
// ones have no use in a torrent.
const maxIntDigits = 20

var (
	errTruncated = errors.New("it ends in the middle of a value")
	errTooDeep   = fmt.Errorf("lists and dictionaries are nested deeper than %d levels", maxDepth)
)

// syntaxError is what is wrong with bencoded bytes, and where.
type syntaxError struct {
	offset int
	what   error
}

func (e *syntaxError) Error() string { return fmt.Sprintf("at byte %d: %v", e.offset, e.what) }
func (e *syntaxError) Unwrap() error { return e.what }

// skip returns the position after the bencoded value (BEP 3) that starts at
// b[pos]. It runs in linear time, does not recurse and does not allocate.
func skip(b []byte, pos int) (int, error) {
	// open[i] is the kind of the i-th open container: 'l', 'd' where a key is
	// due, or 'v' for a dictionary where a value is due.
	var open [maxDepth]byte
	depth := 0
	for {
		if pos >= len(b) {
			return pos, &syntaxError{pos, errTruncated}
		}
		c := b[pos]
		if depth > 0 && open[depth-1] == 'd' && c != 'e' && (c < '0' || c > '9') {
			return pos, &syntaxError{pos, errors.New("a dictionary key must be a string")}
		}
		switch {
		case c == 'l' || c == 'd':
			if depth == maxDepth {
				return pos, &syntaxError{pos, errTooDeep}
			}
			open[depth] = c
			depth++
			pos++
			continue // nothing is complete yet
		case c == 'e' && depth > 0:
			if open[depth-1] == 'v' {
				return pos, &syntaxError{pos, errors.New("a dictionary key has no value")}
			}
			depth--
			pos++
		case c == 'i':
			end, err := intEnd(b, pos)
			if err != nil {
				return pos, &syntaxError{pos, err}
			}
			pos = end + 1
		case c >= '0' && c <= '9':
			start, length, err := stringBounds(b, pos)
			if err != nil {
				return pos, &syntaxError{pos, err}
			}
			pos = start + length
		default:
			return pos, &syntaxError{pos, fmt.Errorf("no value starts with %q", c)}
		}
		if depth == 0 {
			return pos, nil
		}
		switch open[depth-1] {
		case 'd':
			open[depth-1] = 'v'
		case 'v':
			open[depth-1] = 'd'
		}
	}
}

// intEnd returns the position of the 'e' of the integer that starts at b[pos].
func intEnd(b []byte, pos int) (int, error) {
	window := b[pos+1:]
	if len(window) > maxIntDigits+1 {
		window = window[:maxIntDigits+1]
	}
	n := bytes.IndexByte(window, 'e')
	if n < 0 {
		return 0, errors.New("an integer does not end, or is longer than 64 bits")
	}
	if _, ok := parseInt(window[:n]); !ok {
		return 0, errors.New("a malformed integer")
	}
	return pos + 1 + n, nil
}

// parseInt reads the decimal form that BEP 3 allows: no leading zeros, no "-0".
func parseInt(digits []byte) (int64, bool) {
	unsigned := bytes.TrimPrefix(digits, []byte("-"))
	switch {
	case len(unsigned) == 0 || unsigned[0] < '0' || unsigned[0] > '9':
		return 0, false
	case unsigned[0] == '0' && len(digits) > 1:
		return 0, false
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil
}

// stringBounds returns where the bytes of the string at b[pos] start, and how
// many there are; they are all inside b.
func stringBounds(b []byte, pos int) (start, length int, err error) {
	for i := pos; i < len(b) && length <= len(b); i++ {
		c := b[i]
		switch {
		case c == ':' && i > pos:
			if length > len(b)-i-1 {
				return 0, 0, fmt.Errorf("a string of %d bytes is announced where %d are left", length, len(b)-i-1)
			}
			return i + 1, length, nil
		case c < '0' || c > '9':
			return 0, 0, errors.New("a malformed string length")
		}
		length = length*10 + int(c-'0')
	}
	return 0, 0, errors.New("a string is announced that is longer than what holds it")
}

// whole returns the value that b starts with and the bytes after it.
func whole(b []byte) (value, rest []byte, err error) {
	end, err := skip(b, 0)
	if err != nil {
		return nil, nil, err
	}
	return b[:end], b[end:], nil
}

// eachEntry calls f for every entry of the bencoded dictionary d, in the order
// they are in. Keys need not be sorted: torrents with unsorted keys exist, and
// the infohash covers them as they are.
func eachEntry(d []byte, f func(key, value []byte) error) error {
	if len(d) == 0 || d[0] != 'd' {
		return errors.New("it is not a dictionary")
	}
	for pos := 1; ; {
		if pos >= len(d) {
			return &syntaxError{pos, errTruncated}
		}
		if d[pos] == 'e' {
			return nil
		}
		start, length, err := stringBounds(d, pos)
		if err != nil {
			return &syntaxError{pos, err}
		}
		valueStart := start + length
		if pos, err = skip(d, valueStart); err != nil {
			return err
		}
		if err := f(d[start:valueStart], d[valueStart:pos]); err != nil {
			return err
		}
	}
}

// eachItem calls f for every item of the bencoded list l.
func eachItem(l []byte, f func(value []byte) error) error {
	if !isList(l) {
		return errors.New("it is not a list")
	}
	for pos := 1; ; {
		if pos >= len(l) {
			return &syntaxError{pos, errTruncated}
		}
		if l[pos] == 'e' {
			return nil
		}
		end, err := skip(l, pos)
		if err != nil {
			return err
		}
		if err := f(l[pos:end]); err != nil {
			return err
		}
		pos = end
	}
}

func isList(value []byte) bool { return len(value) > 0 && value[0] == 'l' }

// stringOf returns the bytes of a bencoded string, aliasing value.
func stringOf(value []byte) ([]byte, bool) {
	start, length, err := stringBounds(value, 0)
	if err != nil || start+length != len(value) {
		return nil, false
	}
	return value[start:], true
}

// intOf returns the number that a bencoded integer holds.
func intOf(value []byte) (int64, bool) {
	if len(value) < 3 || value[0] != 'i' || value[len(value)-1] != 'e' {
		return 0, false
	}
	return parseInt(value[1 : len(value)-1])
}
