package cluster

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// Messages are binary, numbers in network byte order; uvarint is as in encoding/binary.
// Both kinds of messages begin with a header that says who sent them: version (1
// byte), length of the name (1), name, incarnation (8).
//
// A heartbeat is a header, flags (1), uptime in ms (8) and the time in ms until the next
// one (4). A batch is a header and entries, each a kind (1) and what appendX of that
// kind writes. Requests have a number (4), which the reply repeats.
const (
	wireVersion = 1
	maxName     = 64
	maxHeader   = 2 + maxName + 8
	// Flags of a heartbeat.
	flagLeaving  = 1 // the last one
	flagHello    = 2 // the first one of a connection
	maxNumWant   = 2000
	maxOffers    = 1000
	maxMessage   = 256 << 10 // for a web peer's socket: an offer or answer, as JSON
	maxRefusal   = 200       // bytes of text
	socketBits   = 48
	maxSocketNum = 1<<socketBits - 1
)

// Kinds of entries.
const (
	kindAnnounce = 1 + iota
	kindAnnounced
	kindWeb
	kindWebDone
	kindAnswer
	kindAnswered
	kindScrape
	kindScraped
	kindRefused
	kindLeave
	kindSend
	kindProbe
)

var (
	errMalformed = errors.New("malformed message")
	errVersion   = errors.New("message of another version of the protocol")
)

// identity is one life of a node.
type identity struct {
	name        string
	incarnation uint64 // when it was started: Unix time in ns
}

// key stands for an identity in addresses.
func (id identity) key() uint64 { return mix(hashName(id.name) ^ mix(id.incarnation)) }

// place is where a web peer's socket is.
type place struct {
	key    uint64 // of the node
	socket uint64
}

// given is table.Given, between nodes.
type given struct {
	offer int
	to    place
	id    table.ID
}

// heartbeat says that a node is there.
type heartbeat struct {
	identity
	leaving bool
	hello   bool   // has just connected: may have missed what it was sent
	uptime  uint64 // ms; grows from one to the next
	every   time.Duration
}

func appendHeader(b []byte, id identity) []byte {
	b = append(b, wireVersion, byte(len(id.name)))
	b = append(b, id.name...)
	return binary.BigEndian.AppendUint64(b, id.incarnation)
}

func appendHeartbeat(b []byte, h heartbeat) []byte {
	b = appendHeader(b, h.identity)
	var flags byte
	if h.leaving {
		flags |= flagLeaving
	}
	if h.hello {
		flags |= flagHello
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, h.uptime)
	return binary.BigEndian.AppendUint32(b, uint32(min(h.every/time.Millisecond, 1<<30)))
}

func parseHeartbeat(b []byte) (heartbeat, error) {
	c := cursor{b: b}
	var h heartbeat
	var err error
	if h.identity, err = c.header(); err != nil {
		return h, err
	}
	flags := c.byte()
	h.leaving, h.hello = flags&flagLeaving != 0, flags&flagHello != 0
	h.uptime = c.u64()
	h.every = time.Duration(c.u32()) * time.Millisecond
	if c.bad || len(c.b) > 0 {
		return h, errMalformed
	}
	return h, nil
}

func appendRequest(b []byte, kind byte, id uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, kind), id)
}

// Flags of an announce, above two bits of state and two of the event.
const (
	announceBoth = 1 << (4 + iota)
	announce6
	announceOwner
)

func appendAnnounce(b []byte, id uint32, a *table.Announce) []byte {
	b = appendRequest(b, kindAnnounce, id)
	flags := byte(a.State)&3 | byte(a.Event)&3<<2
	if a.Both {
		flags |= announceBoth
	}
	ip := a.Addr.Addr().Unmap()
	if !ip.Is4() {
		flags |= announce6
	}
	b = append(b, flags)
	b = append(b, a.Hash[:]...)
	b = append(b, a.ID[:]...)
	b = appendIP(b, ip)
	b = binary.BigEndian.AppendUint16(b, a.Addr.Port())
	return binary.AppendUvarint(b, uint64(max(0, min(a.NumWant, maxNumWant))))
}

// appendIP writes 4 bytes of an IPv4 address, else 16; zeros stand for none.
func appendIP(b []byte, ip netip.Addr) []byte {
	if ip.Is4() {
		v4 := ip.As4()
		return append(b, v4[:]...)
	}
	var v6 [16]byte
	if ip.IsValid() {
		v6 = ip.As16()
	}
	return append(b, v6[:]...)
}

func appendCounts(b []byte, c table.Counts) []byte {
	for _, n := range [...]uint32{c.Complete, c.Incomplete, c.Downloaded, c.Downloaders} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

func appendAnnounced(b []byte, id uint32, r *table.Reply) []byte {
	b = appendCounts(appendRequest(b, kindAnnounced, id), r.Counts)
	for _, part := range [...][]byte{r.Peers4, r.Peers6} {
		b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
	}
	return b
}

func appendWeb(b []byte, id uint32, a *table.WebAnnounce) []byte {
	b = appendRequest(b, kindWeb, id)
	host := a.Host.Unmap()
	flags := byte(a.State)&3 | byte(a.Event)&3<<2
	if !host.Is4() {
		flags |= announce6
	}
	if a.Owner {
		flags |= announceOwner
	}
	b = append(b, flags)
	b = append(b, a.Hash[:]...)
	b = append(b, a.ID[:]...)
	b = appendSocket(b, uint64(a.Socket))
	b = appendIP(b, host)
	offers := a.Offers[:min(len(a.Offers), maxOffers)]
	b = binary.AppendUvarint(b, uint64(len(offers)))
	for i := range offers {
		b = append(b, offers[i][:]...)
	}
	return b
}

func appendSocket(b []byte, socket uint64) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(socket>>32))
	return binary.BigEndian.AppendUint32(b, uint32(socket))
}

func appendPlace(b []byte, p place) []byte {
	return appendSocket(binary.BigEndian.AppendUint64(b, p.key), p.socket)
}

func appendWebDone(b []byte, id uint32, counts table.Counts, gave []given) []byte {
	b = appendCounts(appendRequest(b, kindWebDone, id), counts)
	b = binary.AppendUvarint(b, uint64(len(gave)))
	for i := range gave {
		b = binary.AppendUvarint(b, uint64(gave[i].offer))
		b = appendPlace(b, gave[i].to)
		b = append(b, gave[i].id[:]...)
	}
	return b
}

func appendAnswer(b []byte, id uint32, a *table.Answer) []byte {
	b = appendRequest(b, kindAnswer, id)
	b = append(b, a.Hash[:]...)
	b = append(b, a.From[:]...)
	b = appendSocket(b, uint64(a.Socket))
	b = append(b, a.To[:]...)
	return append(b, a.Offer[:]...)
}

func appendAnswered(b []byte, id uint32, to place) []byte {
	return appendPlace(appendRequest(b, kindAnswered, id), to)
}

func appendScrape(b []byte, id uint32, h *table.Hash) []byte {
	return append(appendRequest(b, kindScrape, id), h[:]...)
}

func appendScraped(b []byte, id uint32, counts table.Counts) []byte {
	return appendCounts(appendRequest(b, kindScraped, id), counts)
}

// refusals are what goes between nodes by its place here, so that it is the same
// value on the other side. Places must not change; new ones go to the end.
var refusals = []*table.Refusal{
	table.ErrSwarms, table.ErrPeers, table.ErrSwarmPeers, table.ErrHostPeers, table.ErrHostInSwarm,
	table.ErrAddress, table.ErrIDTaken, table.ErrNoOffer, table.ErrNotInSwarm, table.ErrTooManyOffers,
}

// appendRefused writes 1 + the place in refusals, or 0, time and text: uvarint
// seconds + 1 until asking again makes sense, 0 for never.
func appendRefused(b []byte, id uint32, err error) []byte {
	b = appendRequest(b, kindRefused, id)
	for i, known := range refusals {
		if errors.Is(err, known) {
			return append(b, byte(i+1))
		}
	}
	b = append(b, 0)
	text, again := "this tracker has failed", uint64(1)
	var r *table.Refusal
	if errors.As(err, &r) {
		text = r.Text[:min(len(r.Text), maxRefusal)]
		again = 0
		if r.RetryIn != table.Never {
			again = uint64(max(0, r.RetryIn)/time.Second) + 1
		}
	}
	b = binary.AppendUvarint(b, again)
	b = append(b, byte(len(text)))
	return append(b, text...)
}

func appendLeave(b []byte, h *table.Hash, id *table.ID, socket uint64) []byte {
	b = append(b, kindLeave)
	b = append(b, h[:]...)
	b = append(b, id[:]...)
	return appendSocket(b, socket)
}

func appendProbe(b []byte, socket uint64) []byte {
	return appendSocket(append(b, kindProbe), socket)
}

func appendSend(b []byte, socket uint64, message []byte) []byte {
	b = appendSocket(append(b, kindSend), socket)
	b = binary.AppendUvarint(b, uint64(len(message)))
	return append(b, message...)
}
