package wire

import "math"

// Peers' dictionaries are read as they are: keys in any order, double, or none at all,
// numbers with zeros before them, values of another type, an end that is missing. What
// can be used is used; what is hostile is size, which these bounds hold.
const (
	// maxTokens bounds what is looked at of one message: values, keys and ends, at
	// some 10 ns each. Those of real clients have less than a hundred.
	maxTokens = 1024
	// maxDigits bounds a number, in bytes.
	maxDigits = 64
)

// eachEntry calls f for the entries of the bencoded dictionary that b starts with, as far
// as it can be read. It returns what follows the dictionary; whole is false if no end of
// it was found.
func eachEntry(b []byte, f func(key, value []byte)) (rest []byte, whole bool) {
	if len(b) == 0 || b[0] != 'd' {
		return nil, false
	}
	tokens := maxTokens
	for pos := 1; pos < len(b); {
		if b[pos] == 'e' {
			return b[pos+1:], true
		}
		keyEnd, ok := valueEnd(b, pos, &tokens)
		if !ok {
			return nil, false
		}
		key := b[pos:keyEnd]
		if keyEnd < len(b) && b[keyEnd] == 'e' { // a key without a value
			return b[keyEnd+1:], true
		}
		if pos, ok = valueEnd(b, keyEnd, &tokens); !ok {
			return nil, false
		}
		if name, isString := stringOf(key); isString {
			f(name, b[keyEnd:pos])
		}
	}
	return nil, false
}

// valueEnd returns the position after the bencoded value that starts at b[pos], without
// recursion. ok is false if there is no end, or none within so many tokens.
func valueEnd(b []byte, pos int, tokens *int) (end int, ok bool) {
	for depth := 0; pos < len(b) && *tokens > 0; *tokens-- {
		switch c := b[pos]; {
		case c == 'd' || c == 'l':
			depth++
			pos++
		case c == 'e' && depth > 0:
			depth--
			pos++
		case c == 'i':
			pos = numberEnd(b, pos)
		case c >= '0' && c <= '9':
			start, length, isString := stringBounds(b, pos)
			if !isString {
				return 0, false
			}
			pos = start + length
		default:
			return 0, false
		}
		if pos == 0 {
			return 0, false
		}
		if depth == 0 {
			*tokens--
			return pos, true
		}
	}
	return 0, false
}

// numberEnd returns the position after the number that starts at b[pos], whatever is in
// it; 0 if it does not end.
func numberEnd(b []byte, pos int) int {
	for i := pos + 1; i < len(b) && i <= pos+1+maxDigits; i++ {
		if b[i] == 'e' {
			return i + 1
		}
	}
	return 0
}

// stringBounds returns where the bytes of the string at b[pos] start, and how many there
// are; they are all inside b.
func stringBounds(b []byte, pos int) (start, length int, ok bool) {
	for i := pos; i < len(b) && i <= pos+maxDigits && length <= len(b); i++ {
		switch c := b[i]; {
		case c == ':' && i > pos:
			return i + 1, length, length <= len(b)-i-1
		case c < '0' || c > '9':
			return 0, 0, false
		default:
			length = 10*length + int(c-'0')
		}
	}
	return 0, 0, false
}

// stringOf returns the bytes of a bencoded string, aliasing value.
func stringOf(value []byte) ([]byte, bool) {
	start, length, ok := stringBounds(value, 0)
	if !ok || start+length != len(value) {
		return nil, false
	}
	return value[start:], true
}

// intOf returns the number that a bencoded integer holds, if it is from least to most.
func intOf(value []byte, least, most int64) (n int64, ok bool) {
	if len(value) < 3 || value[0] != 'i' {
		return 0, false
	}
	digits := value[1 : len(value)-1]
	negative := digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	for _, c := range digits {
		digit := int64(c) - '0'
		if digit < 0 || digit > 9 || n > (math.MaxInt64-digit)/10 {
			return 0, false
		}
		n = 10*n + digit
	}
	if negative {
		n = -n
	}
	return n, len(digits) > 0 && n >= least && n <= most
}
