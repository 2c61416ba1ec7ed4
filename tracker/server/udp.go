package server

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// Sizes and numbers of BEP 15.
const (
	udpMagic = 0x41727101980

	actionConnect  = 0
	actionAnnounce = 1
	actionScrape   = 2
	actionError    = 3

	udpHeader   = 16 // connection id, action, transaction id
	udpAnnounce = 98 // without options

	udpScrapes = 74 // hashes in a scrape

	// UDPReply is how many bytes a reply has at most: what fits into an Ethernet frame
	// with IPv6.
	UDPReply = 1452
)

// PacketWriter is how replies leave that come later, since another node has the swarm;
// *net.UDPConn is one.
type PacketWriter interface {
	WriteToUDPAddrPort([]byte, netip.AddrPort) (int, error)
}

// IsPacket says whether a packet is for a UDP tracker (BEP 15) rather than STUN, TURN, DTLS,
// DHT or uTP, which may have the same port: it begins with the protocol's magic number,
// or with a connection id of ours.
func IsPacket(b []byte) bool {
	return len(b) >= udpHeader &&
		(b[0] == ConnectionIDByte || binary.BigEndian.Uint64(b) == udpMagic)
}

// HandlePacket answers one UDP packet. It writes the reply into reply, which must
// have room for UDPReply bytes, and returns its length; 0: none, or one that goes to w
// later. It keeps neither of the slices. w may be nil if there is no cluster.
//
// Before the sender has proved by a connection id that it receives at its address, a reply
// is no larger than the packet.
func (s *Server) HandlePacket(w PacketWriter, b []byte, from netip.AddrPort, reply []byte) int {
	if len(b) < udpHeader || from.Port() == 0 {
		s.stats.UDP.Malformed.Add(1)
		return 0
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	id, action := binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])
	if action == actionConnect {
		if id != udpMagic {
			s.stats.UDP.Malformed.Add(1)
			return 0
		}
		s.stats.UDP.Connects.Add(1)
		binary.BigEndian.PutUint32(reply, actionConnect)
		copy(reply[4:8], b[12:16])
		binary.BigEndian.PutUint64(reply[8:], s.ids.make(from.Addr()))
		return 16
	}
	if !s.ids.valid(from.Addr(), id) {
		s.stats.UDP.Malformed.Add(1)
		n := udpError(reply, b, "connection id has expired: connect again")
		return min(n, len(b))
	}
	switch {
	case action == actionAnnounce && len(b) >= udpAnnounce:
		return s.udpAnnounce(w, b, from, reply)
	case action == actionScrape && len(b) >= udpHeader+20:
		return s.udpScrape(w, b, from, reply)
	}
	s.stats.UDP.Malformed.Add(1)
	return udpError(reply, b, "neither an announce nor a scrape")
}

func udpError(reply, b []byte, text string) int {
	binary.BigEndian.PutUint32(reply, actionError)
	copy(reply[4:8], b[12:16])
	return 8 + copy(reply[8:], text)
}

// udpReplyHeader is what comes before the peers in a reply to an announce.
const udpReplyHeader = 20

// udpRoom is what an announce and its reply need; it is kept for further use, as it
// would else be allocated for each.
type udpRoom struct {
	announce table.Announce
	reply    table.Reply
}

var udpRooms = sync.Pool{New: func() any { return new(udpRoom) }}

func (s *Server) udpAnnounce(w PacketWriter, b []byte, from netip.AddrPort, reply []byte) int {
	room := udpRooms.Get().(*udpRoom)
	defer udpRooms.Put(room)
	a, r := &room.announce, &room.reply
	*a = table.Announce{}
	if err := parseUDPAnnounce(b, from, a); err != nil {
		s.stats.UDP.Malformed.Add(1)
		return udpError(reply, b, err.Error())
	}
	most := (UDPReply - udpReplyHeader) / 6
	if from.Addr().Is6() {
		most = (UDPReply - udpReplyHeader) / 18
	}
	a.NumWant = min(s.numWant(a.NumWant), most)
	s.stats.UDP.Announces.Add(1)
	// Peers of one kind at most come, and are written where they belong.
	peers := reply[udpReplyHeader:udpReplyHeader:UDPReply]
	*r = table.Reply{Peers4: peers, Peers6: peers}
	err := s.swarms.Announce(a, r)
	if errors.Is(err, table.ErrElsewhere) {
		s.udpAnnounceLater(w, b, from, a)
		return 0
	}
	if s.cfg.AccessLog != nil {
		s.logAnnounce("udp", a, urlData(b[udpAnnounce:]), err)
	}
	if err != nil {
		s.stats.UDP.Refused.Add(1)
		return udpError(reply, b, err.Error())
	}
	return s.udpAnnounced(reply, b, r)
}

// udpAnnounced writes what comes before the peers.
func (s *Server) udpAnnounced(reply, b []byte, r *table.Reply) int {
	binary.BigEndian.PutUint32(reply, actionAnnounce)
	copy(reply[4:8], b[12:16])
	binary.BigEndian.PutUint32(reply[8:], uint32(s.interval()/time.Second))
	binary.BigEndian.PutUint32(reply[12:], r.Incomplete)
	binary.BigEndian.PutUint32(reply[16:], r.Complete)
	return udpReplyHeader + len(r.Peers4) + len(r.Peers6)
}

func (s *Server) udpAnnounceLater(w PacketWriter, b []byte, from netip.AddrPort, a *table.Announce) {
	if w == nil {
		return
	}
	head, later, url := [udpHeader]byte(b), *a, append([]byte(nil), urlData(b[udpAnnounce:])...)
	s.swarms.AnnounceLater(&later, func(r *table.Reply, err error) {
		var reply [UDPReply]byte
		var n int
		s.logAnnounce("udp", &later, url, err)
		if err != nil {
			s.stats.UDP.Refused.Add(1)
			n = udpError(reply[:], head[:], err.Error())
		} else {
			n = s.udpAnnounced(reply[:], head[:], r)
			copy(reply[udpReplyHeader+copy(reply[udpReplyHeader:], r.Peers4):], r.Peers6)
		}
		_, _ = w.WriteToUDPAddrPort(reply[:min(n, UDPReply)], from)
	})
}

// parseUDPAnnounce reads an announce, whose length is at least udpAnnounce. Its ip field
// is passed over: whose address it is cannot be known.
func parseUDPAnnounce(b []byte, from netip.AddrPort, a *table.Announce) error {
	a.Hash, a.ID = table.Hash(b[16:36]), table.ID(b[36:56])
	a.Addr = netip.AddrPortFrom(from.Addr(), binary.BigEndian.Uint16(b[96:]))
	if binary.BigEndian.Uint64(b[64:]) == 0 {
		a.State = table.Seed
	}
	switch binary.BigEndian.Uint32(b[80:]) {
	case 0:
	case 1:
		a.Event = table.Completed
	case 2:
		a.Event = table.Started
	case 3:
		a.Event = table.Stopped
	case 4: // paused, as libtorrent numbers it (BEP 21)
		if a.State == table.Leech {
			a.State = table.Partial
		}
	default:
		return errEvent
	}
	a.NumWant = int(int32(binary.BigEndian.Uint32(b[92:])))
	return nil
}

var errEvent = errors.New("no such event")

// urlData returns the path and query that the options of an announce carry (BEP 41), in
// a slice of b if they came in one piece. Options of other kinds are passed over, and
// what cannot be read ends them: older clients may have anything there.
func urlData(b []byte) (url []byte) {
	for len(b) > 0 {
		switch b[0] {
		case 0: // end
			return url
		case 1: // nothing
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return url
		}
		value := b[2 : 2+int(b[1])]
		if b[0] == 2 {
			if url == nil {
				url = value[:len(value):len(value)]
			} else {
				url = append(url, value...)
			}
		}
		b = b[2+int(b[1]):]
	}
	return url
}

func (s *Server) udpScrape(w PacketWriter, b []byte, from netip.AddrPort, reply []byte) int {
	hashes := b[udpHeader:]
	n := min(len(hashes)/20, udpScrapes)
	s.stats.UDP.Scrapes.Add(1)
	s.logScrape("udp", from.Addr(), n)
	binary.BigEndian.PutUint32(reply, actionScrape)
	copy(reply[4:8], b[12:16])
	for i := range n {
		c, err := s.swarms.Scrape(table.Hash(hashes[20*i:]))
		if errors.Is(err, table.ErrElsewhere) {
			s.udpScrapeLater(w, b, from, n)
			return 0
		}
		// A torrent that is refused has nobody.
		putScrape(reply[8+12*i:], c)
	}
	return 8 + 12*n
}

func putScrape(b []byte, c table.Counts) {
	binary.BigEndian.PutUint32(b, c.Complete)
	binary.BigEndian.PutUint32(b[4:], c.Downloaded)
	binary.BigEndian.PutUint32(b[8:], c.Incomplete)
}

func (s *Server) udpScrapeLater(w PacketWriter, b []byte, from netip.AddrPort, n int) {
	if w == nil {
		return
	}
	reply := make([]byte, 8+12*n)
	binary.BigEndian.PutUint32(reply, actionScrape)
	copy(reply[4:8], b[12:16])
	hashes := make([]table.Hash, n)
	for i := range hashes {
		hashes[i] = table.Hash(b[udpHeader+20*i:])
	}
	s.scrapeAll(hashes, func(counts []table.Counts) {
		for i, c := range counts {
			putScrape(reply[8+12*i:], c)
		}
		_, _ = w.WriteToUDPAddrPort(reply, from)
	})
}

// numWant is how many peers one who wants n gets; negative: did not say.
func (s *Server) numWant(n int) int {
	if n < 0 {
		n = s.cfg.NumWant
	}
	return min(n, s.cfg.MaxNumWant)
}

// interval is how long to wait until the next announce: up to a tenth more than
// configured.
func (s *Server) interval() time.Duration {
	return s.cfg.Interval + time.Duration(rand.Int64N(int64(s.cfg.Interval/10)+1))
}
