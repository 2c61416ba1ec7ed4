package sctp

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"time"
)

// payloads are the sizes of UDP payloads that are tried, largest first: what an MTU of 1500 leaves to IPv4 and to
// IPv6 (or to IPv4 of 1492, behind PPPoE, and of 1480 in a tunnel), and what WireGuard's 1420 leaves to both.
var payloads = [...]int{1472, 1452, 1372}

const (
	// largestPacket is the room for a packet: of more than an Ethernet takes, see Outlet.SendOne.
	largestPacket = 1500

	// sizeTries is how many probes of a size must be lost until it is too large (MAX_PROBES of RFC 8899
	// section 5.1.2), raiseAfter when larger sizes are tried again (PMTU_RAISE_TIMER), holeAfter the same after a
	// black hole, that may have been a path broken for some seconds.
	sizeTries  = 3
	raiseAfter = 10 * time.Minute
	holeAfter  = time.Minute

	// holeTries is how many times in a row packets larger than packetSize must be lost, and none of them arrive, until
	// they count as too large for a path that has become narrower (RFC 8899 section 4.3); and how often a chunk
	// goes in such.
	holeTries = 3

	infoSize = paramHeader + 8 // of our HEARTBEATs' information (RFC 9260 section 3.3.5)
)

// pathMTU finds out how large packets may be (RFC 8899, with the packets of its section 6.2.1.2: a HEARTBEAT made
// longer by a PAD chunk of RFC 4820). It is asked while there is something to send, and needs no timer.
type pathMTU struct {
	size    int            // of packets; at least packetSize, which passes everywhere
	step    int            // of payloads, to be tried next
	tries   int            // of it
	probing int            // the size of the probe under way; 0: none
	info    [infoSize]byte // of that probe, which its answer repeats
	at      int64          // when it was sent
	next    int64          // no probe before
	holes   int            // losses of large packets in a row, one for all that were under way together
	holeAt  int64          // the last of these losses
}

func (p *pathMTU) begin(next int64) { *p = pathMTU{size: packetSize, next: next} }

// probeSize sends a probe of the next size if it is time to.
func (a *Association) probeSize(now int64) {
	p := &a.path
	if a.model.srtt == 0 || len(a.out.queue) == 0 || now < p.next || p.probing > 0 && now-p.at < a.rto() {
		return
	}
	if p.probing > 0 {
		if p.probing, p.tries = 0, p.tries+1; p.tries == sizeTries {
			p.step, p.tries = p.step+1, 0
		}
	}
	for ; p.step < len(payloads); p.step++ {
		size := (payloads[p.step] - a.head - a.tail) &^ 3
		if size <= p.size {
			break
		}
		if a.sendProbe(size) {
			p.probing, p.at = size, now
			return
		}
		p.tries = 0
	}
	p.step, p.tries, p.next = 0, 0, now+int64(raiseAfter) // all that is larger has been tried
}

// sendProbe sends a packet of that size, and reports whether it can be sent whole.
func (a *Association) sendProbe(size int) bool {
	var random [infoSize - paramHeader]byte
	_, _ = rand.Read(random[:]) // never fails
	info := appendParam(a.path.info[:0], paramInfo, random[:])
	w := writer{a: a}
	defer w.close()
	return w.sendOne(appendPad(appendChunk(w.packet(), chunkHeartbeat, 0, info), size), a.peerTag, false)
}

// appendPad makes a packet longer, up to size bytes, if there is room for a chunk (RFC 4820 section 3).
func appendPad(b []byte, size int) []byte {
	n := size - len(b)
	if n < chunkHeader {
		return b
	}
	b = append(b, chunkPad, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	return append(b, make([]byte, n-chunkHeader)...)
}

// handleHeartbeatAck takes what answers a probe.
func (a *Association) handleHeartbeatAck(now int64, b []byte) {
	p := &a.path
	if p.probing > 0 && bytes.Equal(b, p.info[:]) {
		a.config.Logger.Debug("sctp: the path takes larger packets", "bytes", p.probing)
		*p = pathMTU{size: p.probing, next: now + int64(raiseAfter)}
	}
}

// loseLarge notes the loss of a large packet, and finds a black hole.
func (a *Association) loseLarge(sentAt, now int64) {
	p := &a.path
	if p.size == packetSize || sentAt < p.holeAt { // the same event
		return
	}
	p.holeAt = now
	if p.holes++; p.holes == holeTries {
		a.narrow(now)
	}
}

// narrow goes back to packets that pass everywhere.
func (a *Association) narrow(now int64) {
	a.config.Logger.Debug("sctp: the path takes smaller packets", "than", a.path.size)
	a.path.begin(now + int64(holeAfter))
}

// Moved tells that packets take another path now.
func (a *Association) Moved() {
	a.mu.Lock()
	defer a.unlock()
	a.path.begin(0)
}
