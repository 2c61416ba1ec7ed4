package discovery

import (
	"errors"
	"net/netip"
	"strconv"
)

const (
	// maxMessage is more than any message over UDP has; with values and nodes of both
	// families one comes to about 1400 bytes.
	maxMessage = 4 << 10
	// maxNesting is that of a list in a dictionary in the message, and a few more
	// for what nobody here reads.
	maxNesting = 16
	// maxTransactionID bounds what is sent back to a stranger as it came.
	maxTransactionID = 256
	// maxNodes and maxValues bound what one answer names; K of BEP 5 is 8.
	maxNodes  = 64
	maxValues = maxFoundPeers

	idLen         = 20
	compactLen4   = 6 // address and port
	compactLen6   = 18
	nodeInfoLen4  = idLen + compactLen4
	nodeInfoLen6  = idLen + compactLen6
	genericError  = 201
	maxErrorWords = 200
)

var errNoMessage = errors.New("no message that a DHT node has a use for")

// sanitize reads what can be read of a message and writes it again as BEP 5 has it, so that
// the library, which is strict with style and careless with contents, sees nothing that a
// stranger wrote but strings of the right length. Addresses that hear does not take are left
// out.
//
// The result is shorter than maxMessage and 200 bytes.
func sanitize(b []byte, hear hearers) ([]byte, error) {
	if len(b) > maxMessage {
		return nil, errNoMessage
	}
	m, err := decodeDict(b)
	if err != nil {
		return nil, err
	}
	if len(m.text("t")) > maxTransactionID {
		return nil, errNoMessage
	}
	e := encoder{out: make([]byte, 0, len(b)+64)}
	e.raw("d")
	switch kindOf(m) {
	case "q":
		if !e.query(m, hear.want) {
			return nil, errNoMessage
		}
	case "r":
		hear.answer(m.text("t"))
		e.raw("1:r")
		e.answer(m.dict("r"), hear)
		if seen, ok := addrOf(m.text("ip")); ok {
			hear.seen(seen)
		}
		e.end(m, "r")
	case "e":
		e.raw("1:e")
		e.failure(m["e"])
		e.end(m, "e")
	default:
		return nil, errNoMessage
	}
	return e.out, nil
}

// hearers decide over what a message names.
type hearers struct {
	answer func(transaction []byte)        // it answers this query, or says so: told before what it names
	peer   func(named netip.Addr) bool     // false: it is left out
	node   func(named netip.AddrPort) bool // the same
	seen   func(seen netip.Addr)           // the sender's view of the receiver (BEP 42)
	want   func(family string) bool        // false: nodes of it are not to be asked for
}

// addrOf reads the compact address of BEP 42, with a port behind it or without.
func addrOf(b []byte) (netip.Addr, bool) {
	if len(b) == compactLen4 || len(b) == compactLen6 {
		b = b[:len(b)-2]
	}
	addr, ok := netip.AddrFromSlice(b)
	return addr.Unmap(), ok
}

// kindOf returns what "y" says, or if it says nothing what the message holds.
func kindOf(m dict) string {
	switch y := string(m.text("y")); {
	case y == "q" && m.dict("a") != nil, y == "r" && m.dict("r") != nil, y == "e":
		return y
	case y != "":
		return ""
	}
	switch {
	case m.dict("a") != nil && m.text("q") != nil:
		return "q"
	case m.dict("r") != nil:
		return "r"
	case m["e"] != nil:
		return "e"
	}
	return ""
}

// end writes what every message ends in.
func (e *encoder) end(m dict, kind string) {
	t := m.text("t")
	if t == nil {
		t = []byte{}
	}
	if ro, ok := m.number("ro"); ok && ro != 0 { // BEP 43
		e.number("ro", 1)
	}
	e.pair("t", t)
	e.pair("y", []byte(kind))
	e.raw("e")
}

// query writes a query, unless it lacks what its method needs.
func (e *encoder) query(m dict, asked func(want string) bool) bool {
	a, method := m.dict("a"), string(m.text("q"))
	infoHash, target := a.sized("info_hash", idLen), a.sized("target", idLen)
	port, hasPort := a.number("port")
	hasPort = hasPort && port > 0 && port <= 65535
	implied, _ := a.number("implied_port")
	switch method {
	case "ping":
	case "find_node":
		if target == nil {
			return false
		}
		infoHash = target // where the library looks for it
	case "get_peers":
		if infoHash == nil {
			return false
		}
	case "announce_peer":
		if infoHash == nil || !hasPort && implied == 0 {
			return false
		}
	default:
		return false
	}
	e.raw("1:ad")
	e.pair("id", a.sized("id", idLen))
	if implied != 0 {
		e.number("implied_port", 1)
	}
	e.pair("info_hash", infoHash)
	if hasPort {
		e.number("port", port)
	}
	e.pair("target", target)
	e.pair("token", a.text("token"))
	e.want(a.strings("want"), asked)
	e.raw("e")
	e.pair("q", []byte(method))
	e.end(m, "q")
	return true
}

// want writes which address families the other side asks for (BEP 32), of those that there
// is an answer for.
func (e *encoder) want(families [][]byte, asked func(want string) bool) {
	var n4, n6 bool
	for _, f := range families {
		n4 = n4 || string(f) == "n4" && asked("n4")
		n6 = n6 || string(f) == "n6" && asked("n6")
	}
	if !n4 && !n6 {
		return
	}
	e.raw("4:wantl")
	if n4 {
		e.raw("2:n4")
	}
	if n6 {
		e.raw("2:n6")
	}
	e.raw("e")
}

func (e *encoder) answer(r dict, hear hearers) {
	e.raw("d")
	e.pair("id", r.sized("id", idLen))
	e.nodes("nodes", r.strings("nodes"), nodeInfoLen4, hear.node)
	e.nodes("nodes6", r.strings("nodes6"), nodeInfoLen6, hear.node)
	e.pair("token", r.text("token"))
	e.values(r.strings("values"), hear.peer)
	e.raw("e")
}

// nodes writes a compact list of nodes; some write it as a list of strings.
func (e *encoder) nodes(key string, lists [][]byte, size int, may func(netip.AddrPort) bool) {
	var kept []byte
	n := 0
	for _, nodes := range lists {
		for ; len(nodes) >= size && n < maxNodes; nodes = nodes[size:] {
			if addr, ok := compactAddr(nodes[idLen:size]); ok && may(addr) {
				kept = append(kept, nodes[:size]...)
				n++
			}
		}
	}
	e.pair(key, kept)
}

// values writes a list of peers; some write several into one string.
func (e *encoder) values(lists [][]byte, may func(netip.Addr) bool) {
	n := 0
	for _, peers := range lists {
		size := compactLen4
		if len(peers) == compactLen6 { // BEP 32
			size = compactLen6
		}
		for ; len(peers) >= size && n < maxValues; peers = peers[size:] {
			addr, ok := compactAddr(peers[:size])
			if !ok || !may(addr.Addr()) {
				continue
			}
			if n == 0 {
				e.raw("6:valuesl")
			}
			e.bytes(peers[:size])
			n++
		}
	}
	if n > 0 {
		e.raw("e")
	}
}

// failure writes an error, a list of a number and words, of which some leave out either.
func (e *encoder) failure(v value) {
	code, words := int64(genericError), []byte{}
	parts, ok := v.(list)
	if !ok {
		parts = list{v}
	}
	for _, part := range parts {
		switch part := part.(type) {
		case int64:
			code = part
		case []byte:
			words = part[:min(len(part), maxErrorWords)]
		}
	}
	e.raw("li")
	e.out = strconv.AppendInt(e.out, code, 10)
	e.raw("e")
	e.bytes(words)
	e.raw("e")
}

// compactAddr reads an address in the compact form of BEP 5 or BEP 32, and says whether a
// single host can be meant.
func compactAddr(b []byte) (netip.AddrPort, bool) {
	ip, ok := netip.AddrFromSlice(b[:len(b)-2])
	if !ok {
		return netip.AddrPort{}, false
	}
	addr := netip.AddrPortFrom(ip.Unmap(), uint16(b[len(b)-2])<<8|uint16(b[len(b)-1]))
	return addr, sendable(addr)
}
