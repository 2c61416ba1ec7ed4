package sctp

import "time"

// arm sets the timer to the next thing that is due. A timer that fires too early is cheaper than
// one that is moved with each packet.
func (a *Association) arm(now int64) {
	if a.state == ended {
		return
	}
	due := a.due(now)
	if due >= a.armed || due == never {
		return
	}
	a.armed = due
	a.timer.Reset(time.Duration(max(due-now, 0)))
}

// due is when the next thing is due.
func (a *Association) due(now int64) int64 {
	if a.state != established {
		return a.retryAt
	}
	s := &a.out
	due := a.in.ackAt
	if s.pending.n > 0 {
		due = min(due, a.timeoutAt(), s.rack.checkAt)
	}
	if s.lost.n > 0 || len(s.queue) > 0 {
		switch {
		case a.model.nextSend > now:
			// Later than it might, so that a few packets are worth it.
			due = min(due, a.model.wakeAt())
		case s.pending.n == 0:
			due = min(due, now+a.rto()) // for the peer's window to open
		}
	}
	return due
}

// rto is the timeout for what is under way (RFC 6298).
func (a *Association) rto() int64 {
	m := &a.model
	rto := int64(firstRTO)
	if m.srtt > 0 {
		rto = max(int64(leastRTO), m.srtt+4*m.rttvar)
	}
	return min(rto<<min(a.out.backoff, 10), int64(maxRTO))
}

// timeoutAt is when to probe, or to take all for lost.
func (a *Association) timeoutAt() int64 {
	s, m := &a.out, &a.model
	newest := s.at(s.pending.tail).sentAt
	rto := newest + a.rto()
	if s.probed || s.backoff > 0 || m.srtt == 0 {
		return rto
	}
	delay := 2 * m.srtt
	if s.pending.n == 1 {
		delay += int64(probeDelay)
	}
	return min(rto, newest+max(delay, int64(10*time.Millisecond)))
}

func (a *Association) onTimer() {
	a.mu.Lock()
	defer a.unlock()
	if a.state == ended {
		return
	}
	a.armed = never
	now := a.now()
	if a.state != established {
		a.retry(now)
	} else {
		a.check(now)
	}
	if a.state != ended {
		a.flush()
	}
}

// retry repeats the INIT or the COOKIE-ECHO.
func (a *Association) retry(now int64) {
	if now < a.retryAt {
		return
	}
	if a.tries++; a.tries > maxTries {
		a.end(ErrDead)
		return
	}
	a.retryAt = now + min(int64(firstRetry)<<a.tries, int64(maxRTO))
	if a.state == cookieWait {
		a.sendInit()
	} else {
		a.control(a.peerTag, a.echo)
	}
}

// check looks for losses, and acts when nothing has been acknowledged for long.
func (a *Association) check(now int64) {
	s := &a.out
	if s.pending.n > 0 && s.rack.checkAt <= now {
		a.detect(now)
	}
	if s.pending.n > 0 && a.timeoutAt() <= now {
		newest := s.at(s.pending.tail)
		if now-s.heard > int64(deadAfter) && now-newest.sentAt > int64(leastRTO) {
			a.end(ErrDead)
			return
		}
		if s.probed || s.backoff > 0 || a.model.srtt == 0 || newest.sentAt+a.rto() <= now {
			a.timeOut(now)
		} else {
			a.probe(now)
		}
	}
	if s.pending.n == 0 && s.rwnd < packetSize && (s.lost.n > 0 || len(s.queue) > 0) {
		s.rwnd = packetSize // a probe of the peer's window (RFC 9260 section 6.1, rule A)
	}
}

// probe repeats the last packet, or sends a new one, to have the peer tell what it has
// (RFC 8985 section 7.3).
func (a *Association) probe(now int64) {
	s := &a.out
	s.probed = true
	if len(s.queue) == 0 && s.lost.n == 0 {
		a.lose(now, s.pending.tail)
	}
	w := writer{a: a}
	limit := a.packetLimit()
	if p := a.fill(now, w.packet(), limit); len(p) > headerSize {
		w.finish(p, a.peerTag, limit)
	}
	w.close()
}

// timeOut takes all that is under way for lost (RFC 9260 section 6.3.3).
func (a *Association) timeOut(now int64) {
	s := &a.out
	s.backoff++
	s.rack.checkAt = never
	for s.pending.n > 0 {
		a.lose(now, s.pending.head)
	}
	a.model.timedOut()
}
