package websocket

import (
	"encoding/binary"
	"errors"
)

// errJSON is that of a message which is not JSON (RFC 8259).
var errJSON = errors.New("the message is not JSON")

// maxDepth bounds how deep values are nested.
const maxDepth = 32

// scanner reads JSON, strictly: what it passes over is valid, so that a part of a message
// can be relayed as it is. It takes its input for UTF-8.
type scanner struct {
	b []byte
	i int
}

// space passes over white space and returns the byte after it, 0 at the end.
func (s *scanner) space() byte {
	for ; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
		default:
			return s.b[s.i]
		}
	}
	return 0
}

// token passes over white space and one byte, which must be c.
func (s *scanner) token(c byte) bool {
	if s.space() != c || s.i == len(s.b) {
		return false
	}
	s.i++
	return true
}

// next passes over what is before a member of an object or array, or its end: more is
// false there, and where ok is.
func (s *scanner) next(first bool, closing byte) (more, ok bool) {
	c := s.space()
	if c == closing && s.i < len(s.b) {
		s.i++
		return false, true
	}
	if first {
		return true, true
	}
	if c != ',' {
		return false, false
	}
	s.i++
	ok = s.space() != closing
	return ok, ok
}

// plain says of each byte whether it may be in a string as it is.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return t
}()

// allPlain says that each of eight bytes may be in a string as it is. It may also say no
// where a byte is only next to one that may not.
func allPlain(x uint64) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	quote, escape := x^(ones*'"'), x^(ones*'\\')
	return ((x-ones*0x20)&^x|(quote-ones)&^quote|(escape-ones)&^escape)&tops == 0
}

// str passes over a string and returns what is between its quotes, and whether that has
// escapes.
func (s *scanner) str() (raw []byte, escaped, ok bool) {
	if !s.token('"') {
		return nil, false, false
	}
	start := s.i
	for s.i < len(s.b) {
		for s.i+8 <= len(s.b) && allPlain(binary.LittleEndian.Uint64(s.b[s.i:])) {
			s.i += 8
		}
		if s.i == len(s.b) {
			break
		}
		c := s.b[s.i]
		if plain[c] {
			s.i++
			continue
		}
		if c == '"' {
			s.i++
			return s.b[start : s.i-1], escaped, true
		}
		if c != '\\' || !s.escape() {
			return nil, false, false
		}
		escaped = true
	}
	return nil, false, false
}

// escape passes over an escape.
func (s *scanner) escape() bool {
	if s.i+1 >= len(s.b) {
		return false
	}
	switch s.b[s.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i += 2
		return true
	case 'u':
		if s.i+6 > len(s.b) {
			return false
		}
		for _, c := range s.b[s.i+2 : s.i+6] {
			if hexDigit(c) < 0 {
				return false
			}
		}
		s.i += 6
		return true
	}
	return false
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// value passes over any value and returns it.
func (s *scanner) value(depth int) (raw []byte, ok bool) {
	c := s.space()
	start := s.i
	switch {
	case depth > maxDepth:
	case c == '"':
		_, _, ok = s.str()
	case c == '{' || c == '[':
		ok = s.composite(c+2, depth) // '}' and ']' are two after them
	case c == 't':
		ok = s.word("true")
	case c == 'f':
		ok = s.word("false")
	case c == 'n':
		ok = s.word("null")
	default:
		ok = s.number()
	}
	return s.b[start:s.i], ok
}

// composite passes over an object or an array.
func (s *scanner) composite(closing byte, depth int) bool {
	s.i++
	more, ok := s.next(true, closing)
	for ; more; more, ok = s.next(false, closing) {
		if closing == '}' {
			if _, _, ok := s.str(); !ok || !s.token(':') {
				return false
			}
		}
		if _, ok := s.value(depth + 1); !ok {
			return false
		}
	}
	return ok
}

func (s *scanner) word(w string) bool {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return false
	}
	s.i += len(w)
	return true
}

func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

// at passes over one of two bytes if it is the next.
func (s *scanner) at(c, d byte) bool {
	if s.i < len(s.b) && (s.b[s.i] == c || s.b[s.i] == d) {
		s.i++
		return true
	}
	return false
}

func (s *scanner) number() bool {
	s.at('-', '-')
	if !s.at('0', '0') && !s.digits() {
		return false
	}
	if s.at('.', '.') && !s.digits() {
		return false
	}
	if s.at('e', 'E') {
		s.at('+', '-')
		return s.digits()
	}
	return true
}

// key passes over a member's key and the colon. The key is without escapes, perhaps in
// buf, and nil where it is too long to be of any meaning here.
func (s *scanner) key(buf *[maxKey]byte) (key []byte, ok bool) {
	key, escaped, ok := s.str()
	if escaped {
		key = unescape(buf[:0], key)
	}
	return key, ok && s.token(':')
}

// maxKey is longer than any key or word that means something here.
const maxKey = 24

// unescape appends a string without its escapes to b, within b's capacity. It returns nil for
// what does not fit, or has bytes above U+00FF: nothing that is looked for here.
func unescape(b, raw []byte) []byte {
	for len(raw) > 0 {
		c, n := latin1(raw)
		if n == 0 || len(b) == cap(b) {
			return nil
		}
		b = append(b, c)
		raw = raw[n:]
	}
	return b
}

// latin1 returns the code point at the start of a string's inside, and how many bytes
// it takes there: 0 for one above U+00FF.
func latin1(raw []byte) (c byte, n int) {
	c = raw[0]
	switch {
	case c == '\\':
		switch raw[1] {
		case 'u':
			if raw[2] != '0' || raw[3] != '0' {
				return 0, 0
			}
			return byte(hexDigit(raw[4])<<4 | hexDigit(raw[5])), 6
		case 'b':
			return '\b', 2
		case 'f':
			return '\f', 2
		case 'n':
			return '\n', 2
		case 'r':
			return '\r', 2
		case 't':
			return '\t', 2
		}
		return raw[1], 2
	case c < 0x80:
		return c, 1
	case len(raw) > 1 && (c == 0xC2 || c == 0xC3):
		return c<<6 | raw[1]&0x3F, 2
	}
	return 0, 0
}

// id reads an infohash, a peer id or an offer id: 20 code points up to U+00FF.
func id(raw []byte) (id [20]byte, ok bool) {
	if len(raw) < 20 || len(raw) > 20*6 {
		return id, false
	}
	for i := range id {
		if len(raw) == 0 {
			return id, false
		}
		if c := raw[0]; c < 0x80 && c != '\\' {
			id[i], raw = c, raw[1:]
			continue
		}
		c, n := latin1(raw)
		if n == 0 {
			return id, false
		}
		id[i], raw = c, raw[n:]
	}
	return id, len(raw) == 0
}
