package meta

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// maxDepth bounds the nesting of lists and dictionaries. v1 needs 5 levels; the
// file tree of a hybrid torrent needs one more for each folder.
const maxDepth = 128

// maxIntDigits bounds an integer, in bytes: a sign, the 19 digits of an int64, and
// leading zeros, which BEP 3 forbids and some programs write.
const maxIntDigits = 64

// maxKeys bounds the keys of one dictionary that is looked into. Those of real
// torrents have a few dozen.
const maxKeys = 100_000

var (
	errTruncated     = errors.New("it ends in the middle of a value")
	errNotDictionary = errors.New("it is not a dictionary")
	errKey           = errors.New("a dictionary key must be a string")
	errNoValue       = errors.New("a dictionary key has no value")
	errTooDeep       = fmt.Errorf("lists and dictionaries are nested deeper than %d levels", maxDepth)
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
	if pos < len(b) && b[pos] >= '0' && b[pos] <= '9' { // most values are short strings
		start, length, err := stringBounds(b, pos)
		if err != nil {
			return pos, &syntaxError{pos, err}
		}
		return start + length, nil
	}
	return skipAny(b, pos)
}

// skipAny is skip for values of all kinds.
func skipAny(b []byte, pos int) (int, error) {
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
			return pos, &syntaxError{pos, errKey}
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
				return pos, &syntaxError{pos, errNoValue}
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
	for i := pos + 1; i < len(b) && i <= pos+1+maxIntDigits; i++ {
		switch c := b[i]; {
		case c == 'e':
			return i, nil
		case c == '-' && i == pos+1:
		case c < '0' || c > '9':
			return 0, errors.New("a malformed integer")
		}
	}
	return 0, fmt.Errorf("an integer does not end, or has more than %d digits", maxIntDigits)
}

// parseInt reads a decimal number. Unlike BEP 3 it takes leading zeros and "-0", as
// other programs do.
func parseInt(digits []byte) (n int64, ok bool) {
	unsigned, negative := bytes.CutPrefix(digits, []byte("-"))
	if len(unsigned) == 0 {
		return 0, false
	}
	for _, c := range unsigned {
		digit := int64(c) - '0'
		if digit < 0 || digit > 9 || n > (math.MaxInt64-digit)/10 {
			return 0, false
		}
		n = 10*n + digit
	}
	if negative {
		n = -n
	}
	return n, true
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

// eachEntry calls f for every entry of the bencoded dictionary that b starts with, in
// the order they are in, and returns the bytes after it. Keys need not be sorted:
// torrents with unsorted keys exist, and the infohash covers them as they are.
func eachEntry(b []byte, f func(key, value []byte) error) (rest []byte, err error) {
	if len(b) == 0 {
		return nil, &syntaxError{0, errTruncated}
	}
	if b[0] != 'd' {
		if _, err := skip(b, 0); err != nil {
			return nil, err
		}
		return nil, errNotDictionary
	}
	keys := 0
	for pos := 1; ; keys++ {
		switch {
		case pos >= len(b):
			return nil, &syntaxError{pos, errTruncated}
		case b[pos] == 'e':
			return b[pos+1:], nil
		case b[pos] < '0' || b[pos] > '9':
			return nil, &syntaxError{pos, errKey}
		case keys == maxKeys:
			return nil, &syntaxError{pos, fmt.Errorf("a dictionary has more than %d keys", maxKeys)}
		}
		start, length, err := stringBounds(b, pos)
		if err != nil {
			return nil, &syntaxError{pos, err}
		}
		valueStart := start + length
		if valueStart < len(b) && b[valueStart] == 'e' {
			return nil, &syntaxError{valueStart, errNoValue}
		}
		if pos, err = skip(b, valueStart); err != nil {
			return nil, err
		}
		if err := f(b[start:valueStart], b[valueStart:pos]); err != nil {
			return nil, err
		}
	}
}

// eachItem calls f for the items of the bencoded list that l starts with. f gets all
// that follows and returns what is left of it after the item.
func eachItem(l []byte, f func(b []byte) (rest []byte, err error)) error {
	if !isList(l) {
		return errors.New("it is not a list")
	}
	for l = l[1:]; ; {
		if len(l) == 0 {
			return errTruncated
		}
		if l[0] == 'e' {
			return nil
		}
		var err error
		if l, err = f(l); err != nil {
			return err
		}
	}
}

// eachValue calls f for every item of the bencoded list l.
func eachValue(l []byte, f func(value []byte)) {
	_ = eachItem(l, func(b []byte) ([]byte, error) {
		end, err := skip(b, 0)
		if err == nil {
			f(b[:end])
		}
		return b[end:], err
	})
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
