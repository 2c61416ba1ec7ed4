package tracker

import (
	"encoding/binary"
	"math"
	"net/netip"

	"github.com/anacrolix/torrent/tracker/shared"
)

const (
	eventNone      = shared.None
	eventCompleted = shared.Completed
	eventStarted   = shared.Started
	eventStopped   = shared.Stopped
)

const (
	// maxPeers bounds what is taken of one answer. Nobody asks for more than 200.
	maxPeers = 1000
	// maxTrackerID bounds what a tracker wants to be told again, in bytes.
	maxTrackerID = 200
)

// request is one announce, whatever the protocol.
type request struct {
	Stats
	infoHash [20]byte
	peerID   [20]byte
	port     uint16
	other    netip.Addr // ours in the family that the tracker does not have; zero: none
	key      uint32
	numWant  int
	event    shared.AnnounceEvent
}

// response is a tracker's answer. Everything in it has been bounded except the
// intervals, which are in seconds, 0 when missing, and may be negative.
type response struct {
	interval    int64
	minInterval int64
	seeds       int
	leeches     int
	warning     string
	trackerID   string
	peers       []netip.AddrPort
	seen        netip.Addr // where it sees us (BEP 24); zero: it did not say
	speaker     netip.Addr // who answered; the zero Addr behind a proxy
}

// request is the announce of an event over a family, as things stand. Through a proxy nobody
// knows the family, and IPv4 is most likely.
func (a *Announcer) request(e shared.AnnounceEvent, f family) request {
	req := request{
		Stats:    a.cfg.Stats(),
		infoHash: a.cfg.InfoHash,
		peerID:   a.cfg.PeerID,
		port:     a.cfg.Port(f != "6"),
		key:      a.cfg.Key,
		numWant:  defaultNumWant,
		event:    e,
	}
	if a.cfg.NumWant != nil {
		req.numWant = max(0, a.cfg.NumWant())
	}
	if e == eventStopped {
		req.numWant = 0
	}
	if req.Left != 0 && uint32(req.Left) == 0 {
		// opentracker reads 32 bits of it and would take us for a seed.
		req.Left++
	}
	return req
}

// compactPeers appends the peers of BEP 23 (addrLen 4) or BEP 7 (addrLen 16) in b. A
// last one that is cut short is left out.
func compactPeers(peers []netip.AddrPort, b []byte, addrLen int) []netip.AddrPort {
	for ; len(b) >= addrLen+2 && len(peers) < maxPeers; b = b[addrLen+2:] {
		addr, _ := netip.AddrFromSlice(b[:addrLen])
		peers = appendPeer(peers, addr, binary.BigEndian.Uint16(b[addrLen:]))
	}
	return peers
}

// appendPeer leaves out what nobody can listen at.
func appendPeer(peers []netip.AddrPort, addr netip.Addr, port uint16) []netip.AddrPort {
	addr = addr.Unmap()
	if port == 0 || !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() || addr == broadcast {
		return peers
	}
	return append(peers, netip.AddrPortFrom(addr, port))
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// count turns a tracker's count of peers into one that makes sense.
func count(n int64) int { return int(min(max(n, 0), math.MaxInt32)) }
