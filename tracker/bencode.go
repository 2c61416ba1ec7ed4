package tracker

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
)

// This is as much of bencode (BEP 3) as reading a tracker's answer takes, without
// recursion over, or allocation for, what a hostile one may claim. The decoder of
// anacrolix/torrent recurses as deep as its input nests, which for a body of
// megabytes exhausts the stack, and allocates strings before it has seen them.

const (
	// maxNesting is twice what a tracker's answer has: a dictionary of a list of
	// dictionaries of strings.
	maxNesting = 8
	// maxKeys bounds the keys of a dictionary.
	maxKeys = 64
)

// value is one bencoded value, unparsed; nil when missing.
type value []byte

// str returns the bytes of a string.
func (v value) str() ([]byte, bool) {
	s, rest, err := cutString(v)
	return s, err == nil && len(rest) == 0
}

// integer returns the value of an integer, 0 for anything else or one that does
// not fit.
func (v value) integer() int64 {
	if len(v) < 3 || v[0] != 'i' {
		return 0
	}
	n, err := strconv.ParseInt(string(v[1:len(v)-1]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// elements yields the elements of a list, none for anything else.
func (v value) elements() iter.Seq[value] {
	return func(yield func(value) bool) {
		if len(v) == 0 || v[0] != 'l' {
			return
		}
		rest := v[1:]
		for len(rest) > 0 && rest[0] != 'e' {
			elem, after, err := cutValue(rest, 1)
			if err != nil || !yield(elem) {
				return
			}
			rest = after
		}
	}
}

var errTruncated = errors.New("it ends too early")

// parseDict returns the values of a dictionary. What follows it is ignored.
func parseDict(b []byte) (map[string]value, error) {
	if len(b) == 0 || b[0] != 'd' {
		return nil, errors.New("it is not a dictionary")
	}
	b = b[1:]
	d := map[string]value{}
	for len(d) < maxKeys {
		if len(b) == 0 {
			return nil, errTruncated
		}
		if b[0] == 'e' {
			return d, nil
		}
		key, rest, err := cutString(b)
		if err != nil {
			return nil, err
		}
		v, rest, err := cutValue(rest, 1)
		if err != nil {
			return nil, err
		}
		d[string(key)] = v
		b = rest
	}
	return nil, fmt.Errorf("it has more than %d keys", maxKeys)
}

// cutValue splits the first value off b, which is within depth lists or
// dictionaries.
func cutValue(b []byte, depth int) (v value, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errTruncated
	}
	switch b[0] {
	case 'i':
		for i := 1; i < len(b) && i < 24; i++ {
			if b[i] == 'e' {
				return b[:i+1], b[i+1:], nil
			}
		}
		return nil, nil, errors.New("an integer in it does not end")
	case 'l', 'd':
		if depth >= maxNesting {
			return nil, nil, fmt.Errorf("it is nested more than %d deep", maxNesting)
		}
		rest = b[1:]
		for len(rest) > 0 && rest[0] != 'e' {
			if _, rest, err = cutValue(rest, depth+1); err != nil {
				return nil, nil, err
			}
		}
		if len(rest) == 0 {
			return nil, nil, errTruncated
		}
		rest = rest[1:]
	default:
		if _, rest, err = cutString(b); err != nil {
			return nil, nil, err
		}
	}
	return b[:len(b)-len(rest)], rest, nil
}

// cutString splits the string that b starts with off it.
func cutString(b []byte) (s, rest []byte, err error) {
	n := 0
	for i, c := range b {
		switch {
		case c == ':' && i > 0:
			if b = b[i+1:]; n > len(b) {
				return nil, nil, errTruncated
			}
			return b[:n], b[n:], nil
		case c < '0' || c > '9':
			return nil, nil, fmt.Errorf("%q where a length should be", c)
		}
		if n = n*10 + int(c-'0'); n > maxBody {
			return nil, nil, errTruncated
		}
	}
	return nil, nil, errTruncated
}
