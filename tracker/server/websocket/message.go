package websocket

import (
	"bytes"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// maxDescription bounds an offer or an answer as it is in a message, in bytes.
// libtorrent ends its connection at a description of 64 KiB; those of browsers with all
// candidates have 1 to 8.
const maxDescription = 48 << 10

// action is what a message asks for.
type action uint8

const (
	noAction action = iota
	announceAction
	scrapeAction
)

// message is what a client sends. Its slices are parts of what was parsed.
type message struct {
	action action
	event  table.Event
	paused bool // the event was "paused", which is an update else

	hash    table.Hash
	hasHash bool
	rawHash []byte // as it was written, quotes included; nil if it was no string
	peer    table.ID
	hasPeer bool
	tracker []byte // "trackerid", with its escapes
	seed    bool   // "left" is 0

	offers    []table.OfferID
	offerings [][]byte // for each of offers, the value of "offer"
	answer    []byte   // nil: this is no answer
	to        table.ID
	hasTo     bool
	offer     table.OfferID // what is answered
	hasOffer  bool

	hashes []table.Hash // of a scrape
	full   bool         // a scrape of everything

	problem string // why the message is refused though it is JSON; the first reason

	// What it becomes.
	web      table.WebAnnounce
	reply    table.WebReply
	reaction table.Answer
}

// reset makes m ready for another message.
func (m *message) reset() {
	clear(m.offerings)
	*m = message{
		offers: m.offers[:0], offerings: m.offerings[:0], hashes: m.hashes[:0], full: true,
		reply: table.WebReply{Given: m.reply.Given[:0]},
	}
}

func (m *message) refuse(problem string) {
	if m.problem == "" {
		m.problem = problem
	}
}

// parse reads a message. It fails with errJSON, and leaves other reasons to refuse the message in
// m.problem. Of a message with more offers or infohashes than it may have, the first
// maxOffers or maxHashes are there.
func (m *message) parse(b []byte, maxOffers, maxHashes int) error {
	m.reset()
	s := scanner{b: b}
	if !s.token('{') {
		return errJSON
	}
	var buf [maxKey]byte
	more, ok := s.next(true, '}')
	for ; more; more, ok = s.next(false, '}') {
		key, ok := s.key(&buf)
		if !ok || !m.member(&s, key, maxOffers, maxHashes) {
			return errJSON
		}
	}
	if s.space(); !ok || s.i != len(s.b) {
		return errJSON
	}
	m.complete()
	return nil
}

// member reads the value of one key. Of a key that comes twice, the last one counts.
func (m *message) member(s *scanner, key []byte, maxOffers, maxHashes int) (ok bool) {
	switch string(key) {
	case "action":
		var word []byte
		word, ok = s.shortWord()
		m.action = noAction
		switch string(word) {
		case "announce":
			m.action = announceAction
		case "scrape":
			m.action = scrapeAction
		}
	case "event":
		ok = m.readEvent(s)
	case "info_hash":
		ok = m.readHashes(s, maxHashes)
	case "peer_id":
		m.peer, m.hasPeer, ok = s.idValue()
	case "to_peer_id":
		m.to, m.hasTo, ok = s.idValue()
	case "offer_id":
		m.offer, m.hasOffer, ok = s.idValue()
	case "left":
		var raw []byte
		raw, ok = s.value(0)
		m.seed = isZero(raw)
	case "trackerid":
		var raw []byte
		if raw, ok = s.value(0); ok && len(raw) > 2 && raw[0] == '"' {
			m.tracker = raw[1 : len(raw)-1]
		}
	case "answer":
		m.answer, ok = s.value(0)
		if string(m.answer) == "null" {
			m.answer = nil
		}
	case "offers":
		ok = m.readOffers(s, maxOffers)
	default:
		_, ok = s.value(0)
	}
	return ok
}

// complete finds what a message lacks.
func (m *message) complete() {
	switch m.action {
	case noAction:
		m.refuse("this tracker knows the actions announce and scrape")
	case scrapeAction:
		if m.full {
			m.refuse("say in info_hash which torrents to scrape")
		}
	case announceAction:
		switch {
		case !m.hasHash:
			m.problem = "info_hash is not a string of 20 characters up to U+00FF"
		case !m.hasPeer:
			m.problem = "peer_id is not a string of 20 characters up to U+00FF"
		case m.answer == nil:
		case m.answer[0] != '{' || len(m.answer) > maxDescription:
			m.problem = "answer is not an object of a usual size"
		case !m.hasTo || !m.hasOffer:
			m.problem = "an answer needs to_peer_id and offer_id, strings of 20 characters up to U+00FF"
		}
	}
}

// shortWord reads a string without escapes, or any other value, which gives nil.
func (s *scanner) shortWord() (word []byte, ok bool) {
	if s.space() != '"' {
		_, ok = s.value(0)
		return nil, ok
	}
	raw, escaped, ok := s.str()
	if escaped {
		raw = unescape(make([]byte, 0, maxKey), raw)
	}
	return raw, ok
}

// idValue reads a value which should be an id.
func (s *scanner) idValue() (v [20]byte, is, ok bool) {
	if s.space() != '"' {
		_, ok = s.value(0)
		return v, false, ok
	}
	raw, _, ok := s.str()
	if ok {
		v, is = id(raw)
	}
	return v, is, ok
}

func (m *message) readEvent(s *scanner) bool {
	isNull := s.space() == 'n'
	word, ok := s.shortWord()
	m.event, m.paused = table.Update, false
	switch string(word) {
	case "started":
		m.event = table.Started
	case "completed":
		m.event = table.Completed
	case "stopped":
		m.event = table.Stopped
	case "paused": // BEP 21
		m.paused = true
	case "update", "empty":
	case "":
		if word == nil && !isNull {
			m.refuse("event is not one of started, completed, stopped, paused, update")
		}
	default:
		m.refuse("event is not one of started, completed, stopped, paused, update")
	}
	return ok
}

// readHashes reads info_hash: a string, or in a scrape a list of them.
func (m *message) readHashes(s *scanner, most int) bool {
	m.hashes, m.hasHash, m.rawHash, m.full = m.hashes[:0], false, nil, false
	switch s.space() {
	case '[':
		s.i++
		more, ok := s.next(true, ']')
		for ; more; more, ok = s.next(false, ']') {
			if !m.readHash(s, most) {
				return false
			}
		}
		return ok
	case 'n':
		m.full = true
		return s.word("null")
	}
	ok := m.readHash(s, most)
	if m.hasHash = ok && len(m.hashes) == 1; m.hasHash {
		m.hash = m.hashes[0]
	}
	return ok
}

func (m *message) readHash(s *scanner, most int) bool {
	c := s.space()
	start := s.i
	h, is, ok := s.idValue()
	if ok && c == '"' && m.rawHash == nil && s.i-start <= 20*6+2 {
		m.rawHash = s.b[start:s.i]
	}
	if !is {
		m.refuse("info_hash is not a string of 20 characters up to U+00FF")
	} else if len(m.hashes) < most {
		m.hashes = append(m.hashes, h)
	}
	return ok
}

// readOffers reads offers: a list of objects with offer and offer_id.
func (m *message) readOffers(s *scanner, most int) bool {
	clear(m.offerings)
	m.offers, m.offerings = m.offers[:0], m.offerings[:0]
	if s.space() != '[' {
		raw, ok := s.value(0)
		if ok && string(raw) != "null" {
			m.refuse("offers is not a list")
		}
		return ok
	}
	s.i++
	more, ok := s.next(true, ']')
	for ; more; more, ok = s.next(false, ']') {
		if !m.readOffer(s, most) {
			return false
		}
	}
	return ok
}

func (m *message) readOffer(s *scanner, most int) bool {
	const problem = "offers has something else than objects with offer and offer_id"
	if s.space() != '{' {
		m.refuse(problem)
		_, ok := s.value(0)
		return ok
	}
	s.i++
	var (
		buf   [maxKey]byte
		oid   table.OfferID
		has   bool
		offer []byte
	)
	more, ok := s.next(true, '}')
	for ; more; more, ok = s.next(false, '}') {
		key, ok := s.key(&buf)
		if !ok {
			return false
		}
		switch string(key) {
		case "offer_id":
			oid, has, ok = s.idValue()
		case "offer":
			offer, ok = s.value(0)
		default:
			_, ok = s.value(0)
		}
		if !ok {
			return false
		}
	}
	switch {
	case !ok:
	case !has || len(offer) == 0 || offer[0] != '{':
		m.refuse(problem)
	case len(offer) > maxDescription:
		m.refuse("an offer is too long")
	case len(m.offers) < most:
		m.offers = append(m.offers, oid)
		m.offerings = append(m.offerings, offer)
	}
	return ok
}

// isZero reports whether a number is 0. Nothing else is: least of all null, which
// webtorrent.js says while it does not know.
func isZero(raw []byte) bool {
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return false
	}
	mantissa, _, _ := bytes.Cut(bytes.ToLower(raw), []byte("e"))
	return len(bytes.Trim(mantissa, "-0.")) == 0
}
