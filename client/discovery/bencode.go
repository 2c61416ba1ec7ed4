package discovery

import (
	"bytes"
	"errors"
	"strconv"
)

// value is a bencoded value: a string ([]byte), an integer (int64), a list, a
// dictionary, or nil for an integer that is none.
type value any

type (
	list []value
	dict map[string]value
)

// errNesting is returned for a message that is nested deeper than any has to be.
var errNesting = errors.New("nested too deeply")

// decodeDict reads a dictionary (BEP 3) as leniently as can be: what is hostile is size, and
// b is bounded by its caller. Keys may come in any order, the first of two alike
// counts, integers may have leading zeros, what follows the dictionary is passed
// over, and of one that is cut short everything is taken up to the cut.
//
// Strings share b's memory. Only nesting beyond maxNesting is an error.
func decodeDict(b []byte) (dict, error) {
	if len(b) == 0 || b[0] != 'd' {
		return nil, errors.New("not a dictionary")
	}
	d := decoder{rest: b[1:]}
	return d.dict(1)
}

type decoder struct{ rest []byte }

// next reads a value; more is false at the end of the list or dictionary it would be in,
// and where the message is cut short or unreadable.
func (d *decoder) next(depth int) (v value, more bool, err error) {
	if len(d.rest) == 0 {
		return nil, false, nil
	}
	if depth > maxNesting {
		return nil, false, errNesting
	}
	switch c := d.rest[0]; {
	case c == 'e':
		d.rest = d.rest[1:]
		return nil, false, nil
	case c == 'd':
		d.rest = d.rest[1:]
		v, err = d.dict(depth + 1)
		return v, true, err
	case c == 'l':
		d.rest = d.rest[1:]
		v, err = d.list(depth + 1)
		return v, true, err
	case c == 'i':
		v, more = d.integer()
		return v, more, nil
	case c >= '0' && c <= '9':
		if s, ok := d.string(); ok {
			return s, true, nil
		}
	}
	d.rest = nil // there is no telling where the next value begins
	return nil, false, nil
}

func (d *decoder) dict(depth int) (dict, error) {
	m := dict{}
	for {
		k, more, err := d.next(depth)
		if err != nil || !more {
			return m, err
		}
		v, more, err := d.next(depth)
		if err != nil || !more {
			return m, err
		}
		key, ok := k.([]byte)
		if !ok || v == nil {
			continue
		}
		if _, twice := m[string(key)]; !twice {
			m[string(key)] = v
		}
	}
}

func (d *decoder) list(depth int) (list, error) {
	var l list
	for {
		v, more, err := d.next(depth)
		if err != nil || !more {
			return l, err
		}
		if v != nil {
			l = append(l, v)
		}
	}
}

// maxDigits bounds an integer, leading zeros included.
const maxDigits = 32

func (d *decoder) integer() (value, bool) {
	end := bytes.IndexByte(d.rest[:min(len(d.rest), 1+maxDigits)], 'e')
	if end < 0 {
		d.rest = nil
		return nil, false
	}
	n, err := strconv.ParseInt(string(d.rest[1:end]), 10, 64)
	d.rest = d.rest[end+1:]
	if err != nil {
		return nil, true // one value less, no more
	}
	return n, true
}

func (d *decoder) string() ([]byte, bool) {
	colon := bytes.IndexByte(d.rest[:min(len(d.rest), maxDigits)], ':')
	if colon < 0 {
		return nil, false
	}
	n, err := strconv.ParseUint(string(d.rest[:colon]), 10, 31)
	if err != nil || int(n) > len(d.rest)-colon-1 {
		return nil, false
	}
	s := d.rest[colon+1 : colon+1+int(n)]
	d.rest = d.rest[colon+1+int(n):]
	return s, true
}

// text returns a string, nil if there is none of that name.
func (m dict) text(key string) []byte {
	s, _ := m[key].([]byte)
	return s
}

// sized returns a string of n bytes, nil if there is none.
func (m dict) sized(key string, n int) []byte {
	if s := m.text(key); len(s) == n {
		return s
	}
	return nil
}

// number returns an integer, or a string that is one: some write ports so.
func (m dict) number(key string) (int64, bool) {
	switch v := m[key].(type) {
	case int64:
		return v, true
	case []byte:
		n, err := strconv.ParseInt(string(v[:min(len(v), maxDigits)]), 10, 64)
		return n, err == nil
	}
	return 0, false
}

func (m dict) dict(key string) dict {
	d, _ := m[key].(dict)
	return d
}

// strings returns the strings of a list; a string alone is a list of one.
func (m dict) strings(key string) (all [][]byte) {
	switch v := m[key].(type) {
	case []byte:
		return [][]byte{v}
	case list:
		for _, e := range v {
			if s, ok := e.([]byte); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

// encoder writes bencode; keys of a dictionary must be written in order.
type encoder struct{ out []byte }

func (e *encoder) raw(s string) { e.out = append(e.out, s...) }

func (e *encoder) bytes(s []byte) {
	e.out = strconv.AppendInt(e.out, int64(len(s)), 10)
	e.out = append(e.out, ':')
	e.out = append(e.out, s...)
}

// pair writes a key and a string, unless that is nil.
func (e *encoder) pair(key string, s []byte) {
	if s != nil {
		e.bytes([]byte(key))
		e.bytes(s)
	}
}

func (e *encoder) number(key string, n int64) {
	e.bytes([]byte(key))
	e.raw("i")
	e.out = strconv.AppendInt(e.out, n, 10)
	e.raw("e")
}
