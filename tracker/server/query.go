package server

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// query is what an HTTP announce or scrape asks (BEP 3, 7, 21, 23).
type query struct {
	table.Announce
	port    int
	hasHash bool
	hasID   bool
	hasLeft bool
	paused  bool
	left    uint64
	dict    bool       // peers as dictionaries: compact=0
	ip      netip.Addr // ip=, if it can be read
	hashes  []table.Hash
}

// Errors of requests; their texts are for the peer.
var (
	errNoHash   = errors.New("no info_hash")
	errHash     = errors.New("info_hash is not 20 bytes")
	errNoID     = errors.New("no peer_id")
	errID       = errors.New("peer_id is not 20 bytes")
	errPort     = errors.New("port is not a number from 1 to 65535")
	errLeft     = errors.New("left is not a number")
	errEscape   = errors.New("a percent sign that two hexadecimal digits do not follow")
	errManyHash = errors.New("more than 74 info_hash in one scrape")
)

// parseQuery reads the part of a URL after the question mark. Keys that are
// not known are passed over. With scrape there may be several info_hash.
func parseQuery(b []byte, q *query, scrape bool) error {
	q.NumWant = -1
	var raw [64]byte // what the value of a key can need
	for len(b) > 0 {
		var pair []byte
		if i := bytes.IndexByte(b, '&'); i >= 0 {
			pair, b = b[:i], b[i+1:]
		} else {
			pair, b = b, nil
		}
		key, value := pair, []byte(nil)
		if i := bytes.IndexByte(pair, '='); i >= 0 {
			key, value = pair[:i], pair[i+1:]
		}
		if err := q.set(key, value, raw[:0], scrape); err != nil {
			return err
		}
	}
	if scrape {
		return nil
	}
	return q.finish()
}

// set takes one key and its value.
func (q *query) set(key, value, raw []byte, scrape bool) (err error) {
	switch string(key) {
	case "info_hash":
		if err = unescapeTo(&q.Hash, value, raw, errHash); err != nil {
			return err
		}
		q.hasHash = true
		if scrape {
			if len(q.hashes) == udpScrapes {
				return errManyHash
			}
			q.hashes = append(q.hashes, q.Hash)
		}
	case "peer_id":
		q.hasID = true
		return unescapeTo(&q.ID, value, raw, errID)
	case "port":
		n, ok := number(value)
		if !ok || n > 65535 {
			return errPort
		}
		q.port = int(n)
	case "left":
		if q.left, q.hasLeft = number(value); !q.hasLeft && len(value) > 0 && value[0] != '-' {
			return errLeft
		}
	case "numwant":
		if n, ok := number(value); ok {
			q.NumWant = int(min(n, 1<<20))
		}
	case "compact":
		q.dict = string(value) == "0"
	case "ip":
		if b, err := unescape(raw, value); err == nil {
			q.ip, _ = netip.ParseAddr(string(b))
		}
	case "event":
		return q.setEvent(value)
	}
	return nil
}

func (q *query) setEvent(value []byte) error {
	switch string(value) {
	case "", "empty", "update":
	case "started":
		q.Event = table.Started
	case "stopped":
		q.Event = table.Stopped
	case "completed":
		q.Event = table.Completed
	case "paused":
		q.paused = true
	default:
		return errEvent
	}
	return nil
}

// finish checks what an announce must have. One who does not say how much is left is
// taken for a leech.
func (q *query) finish() error {
	switch {
	case !q.hasHash:
		return errNoHash
	case !q.hasID:
		return errNoID
	case q.port == 0:
		return errPort
	case q.hasLeft && q.left == 0:
		q.State = table.Seed
	case q.paused:
		q.State = table.Partial
	}
	return nil
}

// number reads a decimal number of 64 bits: some clients say that much is left of what they do
// not know the size of.
func number(b []byte) (n uint64, ok bool) {
	n, err := strconv.ParseUint(string(b), 10, 64)
	return n, err == nil
}

// unescapeTo decodes a value of exactly 20 bytes.
func unescapeTo(to *[20]byte, value, raw []byte, wrong error) error {
	if len(value) > 60 {
		return wrong
	}
	b, err := unescape(raw, value)
	if err != nil {
		return err
	}
	if len(b) != len(to) {
		return wrong
	}
	copy(to[:], b)
	return nil
}

// unescape appends what a value stands for, up to 60 bytes of it, to b.
func unescape(b, value []byte) ([]byte, error) {
	for i := 0; i < len(value) && len(b) < 60; i++ {
		switch c := value[i]; c {
		case '%':
			if i+2 >= len(value) {
				return nil, errEscape
			}
			hi, lo := hexDigit[value[i+1]], hexDigit[value[i+2]]
			if hi|lo == 0xff {
				return nil, errEscape
			}
			b = append(b, hi<<4|lo)
			i += 2
		case '+':
			b = append(b, ' ')
		default:
			b = append(b, c)
		}
	}
	return b, nil
}

// hexDigit is what characters stand for as hexadecimal digits; 0xff: nothing.
var hexDigit = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range byte(10) {
		t['0'+i] = i
	}
	for i := range byte(6) {
		t['a'+i], t['A'+i] = 10+i, 10+i
	}
	return t
}()
