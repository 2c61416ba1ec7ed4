package sctp

import (
	"encoding/binary"
	"time"
)

const (
	// leastRTO and maxRTO bound the timeout (the 200 ms rather than the second of RFC 9260
	// section 16: RFC 8985 and every TCP have it so), firstRTO is that before a measurement.
	leastRTO = 200 * time.Millisecond
	maxRTO   = 3 * time.Second
	firstRTO = time.Second

	// probeDelay is added to two round trips before a tail loss probe where one packet is under way,
	// whose SACK the peer may delay (RFC 8985 section 7.2; usrsctp: 200 ms, dcsctp: 40, ours: 20).
	probeDelay = 50 * time.Millisecond

	// duplicateThreshold is after how many packets TCP calls it a loss without a look at the clock.
	duplicateThreshold = 3

	// calmRecoveries is after how many recoveries without a duplicate the reordering window is a
	// quarter of the least round trip again (RFC 8985 section 6.2 step 4).
	calmRecoveries = 16

	// maxRenegs bounds how often a peer may take back what it has acknowledged.
	maxRenegs = 8
)

// rack is RACK-TLP's state (RFC 8985 section 5).
type rack struct {
	sentAt  int64 // when the newest packet that was delivered had been sent
	rtt     int64
	highest uint32 // TSN that was delivered
	reorder bool   // packets of this path have been reordered
	patient int64  // more reordering windows, in quarters of the least round trip
	calm    int    // recoveries until these are forgotten
	checkAt int64  // when the next packet is lost
	reneged int
}

// handleSack takes a SACK (RFC 9260 section 3.3.4).
func (a *Association) handleSack(now int64, b []byte) {
	const fixed = 12
	if len(b) < fixed {
		a.debug("bad SACK", errShort)
		return
	}
	s := &a.out
	cumulative, window := binary.BigEndian.Uint32(b), int(binary.BigEndian.Uint32(b[4:]))
	gaps, duplicates := int(binary.BigEndian.Uint16(b[8:])), int(binary.BigEndian.Uint16(b[10:]))
	b = b[fixed:]
	if len(b) < 4*gaps+4*duplicates {
		a.debug("bad SACK", errShort)
		return
	}
	after := cumulative + 1
	if before(s.next, after) {
		a.violated("a SACK of what was not sent")
		return
	}
	if before(after, s.una) {
		return // it is older than another that has come
	}
	var got sample
	for s.una != after {
		c := s.at(s.una)
		if !c.gone {
			a.delivered(now, &got, s.una)
		}
		if c.message.acked += len(c.data); c.message.acked == len(c.message.data) {
			c.message.recycle()
		}
		*c = sent{}
		s.una++
	}
	if s.una == s.next {
		s.ring = keep(s.ring)
	}
	if !a.handleGaps(now, &got, cumulative, b[:4*gaps]) {
		return
	}
	if duplicates > 0 { // what was repeated had not been lost
		s.rack.patient, s.rack.calm = min(s.rack.patient+1, 8), calmRecoveries
	}
	got.outstanding = s.inflight
	a.model.update(now, &got)
	if got.any {
		s.backoff, s.probed = 0, false
		a.detect(now)
	}
	s.rwnd = max(0, window-s.inflight)
}

// keep returns an empty ring for later if it is small: an idle association holds none of the large.
func keep(ring []sent) []sent {
	if len(ring) > 64 {
		return nil
	}
	return ring
}

// handleGaps takes the gap blocks; false: the SACK ended the association.
func (a *Association) handleGaps(now int64, got *sample, cumulative uint32, b []byte) bool {
	s := &a.out
	for ; len(b) > 0; b = b[4:] {
		first := cumulative + uint32(binary.BigEndian.Uint16(b))
		last := cumulative + uint32(binary.BigEndian.Uint16(b[2:]))
		if before(last, first) || !before(last, s.next) {
			a.debug("bad SACK", errGap)
			break
		}
		if before(first, s.una) {
			continue
		}
		start := first
		for tsn := first; !before(last, tsn); tsn++ {
			c := s.at(tsn)
			if !c.gone {
				a.delivered(now, got, tsn)
				c.gone, c.runEnd = true, tsn
			} else if before(tsn, c.runEnd) {
				tsn = c.runEnd
				if before(last, tsn) {
					tsn = last
				}
			}
		}
		if c := s.at(start); before(c.runEnd, last) {
			c.runEnd = last
		}
	}
	if s.una != s.next && s.at(s.una).gone { // it would be acknowledged cumulatively
		return a.renege()
	}
	return true
}

// renege takes back all gap blocks: the peer has dropped what it had acknowledged
// (RFC 9260 section 6.2.1).
func (a *Association) renege() bool {
	s := &a.out
	if s.rack.reneged++; s.rack.reneged > maxRenegs {
		a.violated("dropped what was acknowledged, again and again")
		return false
	}
	for tsn := s.una; tsn != s.next; tsn++ {
		if c := s.at(tsn); c.gone {
			c.gone, c.lost = false, true
			s.pushBack(&s.lost, tsn)
		}
	}
	return true
}

// delivered notes that a chunk has arrived.
func (a *Association) delivered(now int64, got *sample, tsn uint32) {
	s := &a.out
	c := s.at(tsn)
	if c.lost {
		s.remove(&s.lost, tsn) // it was only late
		c.lost = false
		s.rack.reorder = true
	} else {
		s.remove(&s.pending, tsn)
		s.inflight -= c.size
	}
	rtt := now - c.sentAt
	r := &s.rack
	if c.repeated == 0 {
		if before(tsn, r.highest) && r.highest != 0 {
			r.reorder = true
		}
		if got.rtt == 0 || rtt < got.rtt {
			got.rtt = max(rtt, 1)
		}
	}
	if c.repeated == 0 || rtt >= a.model.minRTT { // else it is the first copy that has arrived
		if c.sentAt >= r.sentAt {
			r.sentAt, r.rtt = c.sentAt, rtt
		}
	}
	if r.highest == 0 || before(r.highest, tsn) {
		r.highest = tsn
	}
	a.model.take(now, got, c.snapshot, c.size)
	if c.large {
		a.path.holes = 0
	}
}

// detect finds what is lost: what was sent a reordering window before something that has arrived
// (RFC 8985 section 6.2).
func (a *Association) detect(now int64) {
	s := &a.out
	r := &s.rack
	r.checkAt = never
	recovering := s.lost.n > 0
	window := min(a.model.minRTT/4*(1+r.patient), a.model.srtt)
	if !r.reorder && (s.lost.n > 0 || !before(r.highest, s.una+duplicateThreshold)) {
		window = 0
	}
	for s.pending.n > 0 {
		tsn := s.pending.head
		c := s.at(tsn)
		if c.sentAt >= r.sentAt && (c.sentAt > r.sentAt || !before(tsn, r.highest)) {
			return
		}
		if at := c.sentAt + r.rtt + window; at > now {
			r.checkAt = at
			return
		}
		a.lose(now, tsn)
		if !recovering {
			recovering = true
			r.recover()
		}
	}
}

// recover begins a recovery.
func (r *rack) recover() {
	if r.calm--; r.calm <= 0 {
		r.patient = 0
	}
}

// lose has a chunk repeated.
func (a *Association) lose(now int64, tsn uint32) {
	s := &a.out
	c := s.at(tsn)
	s.remove(&s.pending, tsn)
	s.inflight -= c.size
	c.lost = true
	s.pushBack(&s.lost, tsn)
	a.model.lose(c.size, c.sentAt)
	if c.large {
		a.loseLarge(c.sentAt, now)
	}
}
