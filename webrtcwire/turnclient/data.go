package turnclient

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v4"
)

const (
	stunHeader    = 20
	stunCookie    = 0x2112A442 // RFC 8489 section 5
	channelHeader = 4          // RFC 8656 section 12.4

	// maxTrain is the largest number of bytes that go to the server at once.
	maxTrain = 64_000
)

// trains are packets in the making.
var trains = sync.Pool{New: func() any { return new([maxTrain]byte) }}

// Send has the server send a packet to a peer. What cannot be sent, because the server does not
// permit it or there are too many peers, is lost.
func (a *Allocation) Send(data []byte, to netip.AddrPort) { a.SendSegments(data, len(data), to) }

// SendSegments is Send for packets that follow each other in b, each of size bytes but for the last,
// which may be shorter.
func (a *Allocation) SendSegments(b []byte, size int, to netip.AddrPort) {
	if len(b) == 0 {
		return
	}
	now := time.Now()
	p := a.to(to, now)
	if p == nil {
		return
	}
	if channel := p.usable(now); channel != 0 {
		a.sendByChannel(b, size, channel)
		return
	}
	if !isSTUN(b) { // no check of ICE's
		a.bind(p)
	}
	for len(b) > 0 {
		n := min(size, len(b))
		if !a.wait(b[:n], to, p.host, now) {
			a.indicate(b[:n], to)
		}
		b = b[n:]
	}
}

// sendByChannel sends channel data (RFC 8656 section 12.5).
func (a *Allocation) sendByChannel(b []byte, size int, channel uint16) {
	frame := channelHeader + size
	if a.cfg.Stream {
		frame = (frame + 3) &^ 3
	}
	if frame > maxTrain {
		return
	}
	train := trains.Get().(*[maxTrain]byte)
	defer trains.Put(train)
	n := 0
	for len(b) > 0 {
		if n+frame > maxTrain {
			a.cfg.WriteSegments(train[:n], frame)
			n = 0
		}
		length := min(size, len(b))
		binary.BigEndian.PutUint16(train[n:], channel)
		binary.BigEndian.PutUint16(train[n+2:], uint16(length))
		copy(train[n+channelHeader:], b[:length])
		n += channelHeader + length
		for a.cfg.Stream && n&3 != 0 {
			train[n] = 0
			n++
		}
		b = b[length:]
	}
	a.cfg.WriteSegments(train[:n], frame)
}

// indicate sends a Send indication (RFC 8656 section 11.1).
func (a *Allocation) indicate(data []byte, to netip.AddrPort) {
	message, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication),
		peerAddress(to), stun.RawAttribute{Type: stun.AttrData, Value: data})
	if err == nil {
		_ = a.cfg.Write(message.Raw) // an error is a loss
	}
}

// Receive takes a packet from the server, which it may overwrite, if it is one for this allocation:
// an answer to a request of ours, data of a peer's, or channel data of a channel of ours.
func (a *Allocation) Receive(b []byte) (taken bool) {
	switch {
	case isChannelData(b):
		return a.receiveByChannel(b)
	case !isSTUN(b):
		return false
	case b[0]&1 == 1: // the class bits of a response (RFC 8489 section 5)
		return a.answered(b)
	}
	return a.indicated(b)
}

func (a *Allocation) receiveByChannel(b []byte) (taken bool) {
	number, length := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
	a.peers.RLock()
	p := a.peers.channels[number]
	a.peers.RUnlock()
	if p == nil || length > len(b)-channelHeader {
		return false
	}
	a.cfg.Received(b[channelHeader:channelHeader+length:channelHeader+length], p.addr)
	return true
}

// indicated takes a Data indication (RFC 8656 section 11.4). Nobody else's come from the server.
func (a *Allocation) indicated(b []byte) (taken bool) {
	message := stun.Message{Raw: append([]byte(nil), b...)}
	if message.Decode() != nil || message.Type != stun.NewType(stun.MethodData, stun.ClassIndication) {
		return false
	}
	from, err := addressOf(&message, stun.AttrXORPeerAddress)
	if err != nil {
		return true
	}
	if data, err := message.Get(stun.AttrData); err == nil && a.made.Load() {
		a.cfg.Received(data, from)
	}
	return true
}

func isSTUN(b []byte) bool {
	return len(b) >= stunHeader && b[0] < 4 && binary.BigEndian.Uint32(b[4:]) == stunCookie
}

// isChannelData reports whether a packet is of a channel (RFC 8656 section 12).
func isChannelData(b []byte) bool { return len(b) >= channelHeader && b[0] >= 64 && b[0] <= 79 }
