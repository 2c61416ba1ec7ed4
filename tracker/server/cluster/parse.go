package cluster

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// sink takes the entries of a batch. What it is handed is valid for ever, but
// announces, which are until the call returns.
type sink interface {
	announce(id uint32, a *table.Announce)
	announced(id uint32, r *table.Reply)
	web(id uint32, a *table.WebAnnounce) // Socket without a node
	webDone(id uint32, counts table.Counts, gave []given)
	answer(id uint32, a *table.Answer) // Socket without a node
	answered(id uint32, to place)
	scrape(id uint32, h table.Hash)
	scraped(id uint32, counts table.Counts)
	refused(id uint32, err error)
	leave(h table.Hash, id table.ID, socket uint64)
	send(socket uint64, message []byte)
	probe(socket uint64)
}

// parser reads batches. It is kept for the memory that it uses again.
type parser struct {
	announce table.Announce
	web      table.WebAnnounce
	answer   table.Answer
	gave     []given
}

// entries hands what a batch has, behind its header, to a sink. At the first entry that
// cannot be read it stops with errMalformed: there is no telling where the next begins.
func (p *parser) entries(b []byte, to sink) error {
	c := cursor{b: b}
	for len(c.b) > 0 {
		if kind := c.byte(); !p.entry(&c, kind, to) {
			return errMalformed
		}
	}
	return nil
}

// entry reads one entry; false if it cannot.
func (p *parser) entry(c *cursor, kind byte, to sink) bool {
	switch kind {
	case kindLeave:
		h, id, socket := c.twenty(), c.twenty(), c.socket()
		if c.bad {
			return false
		}
		to.leave(h, id, socket)
		return true
	case kindSend:
		socket, message := c.socket(), c.take(c.uvarint(maxMessage))
		if c.bad {
			return false
		}
		to.send(socket, message)
		return true
	case kindProbe:
		socket := c.socket()
		if c.bad {
			return false
		}
		to.probe(socket)
		return true
	}
	id := c.u32()
	switch kind {
	case kindAnnounce:
		return p.readAnnounce(c, id, to)
	case kindAnnounced:
		return readAnnounced(c, id, to)
	case kindWeb:
		return p.readWeb(c, id, to)
	case kindWebDone:
		return p.readWebDone(c, id, to)
	case kindAnswer:
		p.answer = table.Answer{
			Hash: c.twenty(), From: c.twenty(), Socket: table.Handle(c.socket()), To: c.twenty(), Offer: c.twenty(),
		}
		if !c.bad {
			to.answer(id, &p.answer)
		}
	case kindAnswered:
		if at := c.place(); !c.bad {
			to.answered(id, at)
		}
	case kindScrape:
		if h := c.twenty(); !c.bad {
			to.scrape(id, h)
		}
	case kindScraped:
		if counts := c.counts(); !c.bad {
			to.scraped(id, counts)
		}
	case kindRefused:
		if err := c.refusal(); !c.bad {
			to.refused(id, err)
		}
	default:
		return false
	}
	return !c.bad
}

func (p *parser) readAnnounce(c *cursor, id uint32, to sink) bool {
	flags := c.byte()
	p.announce = table.Announce{
		State: c.state(flags), Event: table.Event(flags >> 2 & 3),
		Both: flags&announceBoth != 0,
		Hash: c.twenty(), ID: c.twenty(),
	}
	ip := c.ip(flags&announce6 != 0)
	p.announce.Addr = netip.AddrPortFrom(ip, c.u16())
	p.announce.NumWant = c.uvarint(maxNumWant)
	if c.bad {
		return false
	}
	to.announce(id, &p.announce)
	return true
}

func readAnnounced(c *cursor, id uint32, to sink) bool {
	const most = maxNumWant + 1
	r := table.Reply{
		Counts: c.counts(), Peers4: c.take(c.uvarint(most * 6)), Peers6: c.take(c.uvarint(most * 18)),
	}
	if c.bad || len(r.Peers4)%6 != 0 || len(r.Peers6)%18 != 0 {
		return false
	}
	to.announced(id, &r)
	return true
}

func (p *parser) readWeb(c *cursor, id uint32, to sink) bool {
	flags := c.byte()
	offers := p.web.Offers[:0]
	p.web = table.WebAnnounce{
		State: c.state(flags), Event: table.Event(flags >> 2 & 3),
		Hash: c.twenty(), ID: c.twenty(), Socket: table.Handle(c.socket()),
		Host: c.ip(flags&announce6 != 0), Owner: flags&announceOwner != 0,
	}
	for n := c.uvarint(maxOffers); n > 0 && !c.bad; n-- {
		offers = append(offers, c.twenty())
	}
	p.web.Offers = offers
	if c.bad {
		return false
	}
	to.web(id, &p.web)
	return true
}

func (p *parser) readWebDone(c *cursor, id uint32, to sink) bool {
	counts := c.counts()
	p.gave = p.gave[:0]
	for n := c.uvarint(maxOffers); n > 0 && !c.bad; n-- {
		p.gave = append(p.gave, given{offer: c.uvarint(maxOffers - 1), to: c.place(), id: c.twenty()})
	}
	if c.bad {
		return false
	}
	to.webDone(id, counts, p.gave)
	return true
}

// cursor reads a message from its beginning. What is not there is zero, and sets bad.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (c *cursor) twenty() (v [20]byte) {
	copy(v[:], c.take(20))
	return v
}

// uvarint reads a number that is at most as given.
func (c *cursor) uvarint(most uint64) int {
	v, n := binary.Uvarint(c.b)
	if n <= 0 || v > most {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return int(v)
}

func (c *cursor) socket() uint64 {
	high := c.u16()
	s := uint64(high)<<32 | uint64(c.u32())
	if s == 0 {
		c.bad = true
	}
	return s
}

func (c *cursor) place() place { return place{key: c.u64(), socket: c.socket()} }

func (c *cursor) state(flags byte) table.State {
	s := table.State(flags & 3)
	if s > table.Partial {
		c.bad = true
	}
	return s
}

// ip reads an address; one that is unspecified is left for the table to refuse.
func (c *cursor) ip(v6 bool) netip.Addr {
	size := 4
	if v6 {
		size = 16
	}
	ip, _ := netip.AddrFromSlice(c.take(size))
	return ip.Unmap()
}

func (c *cursor) counts() table.Counts {
	var n [4]uint32
	for i := range n {
		n[i] = uint32(c.uvarint(math.MaxUint32))
	}
	return table.Counts{Complete: n[0], Incomplete: n[1], Downloaded: n[2], Downloaders: n[3]}
}

func (c *cursor) refusal() error {
	known := int(c.byte())
	if known > len(refusals) {
		c.bad = true
	}
	if c.bad {
		return nil
	}
	if known > 0 {
		return refusals[known-1]
	}
	const longest = 365 * 24 * 3600
	r := &table.Refusal{RetryIn: table.Never}
	if again := c.uvarint(longest); again > 0 {
		r.RetryIn = time.Duration(again-1) * time.Second
	}
	size := int(c.byte())
	if size > maxRefusal {
		c.bad = true
	}
	r.Text = string(c.take(size))
	return r
}

func (c *cursor) header() (identity, error) {
	version := c.byte()
	if c.bad {
		return identity{}, errMalformed
	}
	if version != wireVersion {
		return identity{}, errVersion
	}
	name := string(c.take(int(c.byte())))
	id := identity{name: name, incarnation: c.u64()}
	if c.bad || !validName(name) {
		return identity{}, errMalformed
	}
	return id, nil
}
