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
// megabytes exhausts the stack, and allocates strings before it has seen them. It is
// lenient where nobody is hurt: keys may be in any order, any number, twice (the first
// counts) or no strings; only what is asked for must make sense. Size is bounded by
// whoever reads the answer.

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
			elem, after, err := cutValue(rest)
			if err != nil || !yield(elem) {
				return
			}
			rest = after
		}
	}
}

var (
	errTruncated = errors.New("it ends too early")
	errNoDict    = errors.New("it is not a dictionary")
)

// parseDict returns those values of a dictionary that are asked for. What follows the
// dictionary is ignored.
func parseDict(b []byte, keys ...string) (map[string]value, error) {
	if len(b) == 0 || b[0] != 'd' {
		return nil, errNoDict
	}
	b = b[1:]
	d := make(map[string]value, len(keys))
	for {
		if len(b) == 0 {
			return nil, errTruncated
		}
		if b[0] == 'e' {
			return d, nil
		}
		key, rest, err := cutValue(b)
		if err != nil {
			return nil, err
		}
		v, rest, err := cutValue(rest)
		if err != nil {
			return nil, err
		}
		b = rest
		if name, ok := key.str(); ok && d[string(name)] == nil {
			for _, k := range keys {
				if k == string(name) {
					d[k] = v
				}
			}
		}
	}
}

// cutValue splits the first value off b, however deep it nests.
func cutValue(b []byte) (v value, rest []byte, err error) {
	rest = b
	for depth := 0; ; {
		if len(rest) == 0 {
			return nil, nil, errTruncated
		}
		switch rest[0] {
		case 'i':
			rest, err = skipInteger(rest)
		case 'l', 'd':
			depth++
			rest = rest[1:]
		case 'e':
			if depth == 0 {
				return nil, nil, errors.New("it has an end where a value should be")
			}
			depth--
			rest = rest[1:]
		default:
			_, rest, err = cutString(rest)
		}
		if err != nil {
			return nil, nil, err
		}
		if depth == 0 {
			return b[:len(b)-len(rest)], rest, nil
		}
	}
}

// skipInteger skips whatever is between an i and an e: only an integer that is needed
// has to be one.
func skipInteger(b []byte) (rest []byte, err error) {
	for i, c := range b {
		if c == 'e' {
			return b[i+1:], nil
		}
	}
	return nil, errTruncated
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
