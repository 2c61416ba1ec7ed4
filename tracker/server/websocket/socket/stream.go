package socket

import "time"

const (
	// firstRead is what a goroutine's connection reads with while it waits.
	firstRead = 64
	// nextRead bounds by how much a message's buffer grows before that has come.
	nextRead = 16 << 10
)

// startStream gives a connection a goroutine. first is what its client has sent already.
func (s *Server) startStream(c *Conn, first []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.streams[c] = struct{}{}
	s.working.Add(1)
	if s.sweeping == nil {
		s.sweeping = make(chan struct{})
		s.working.Add(1)
		go s.sweepStreams(s.sweeping)
	}
	go c.readStream(first)
	return nil
}

// readStream serves a connection until it ends.
func (c *Conn) readStream(first []byte) {
	s := c.server
	defer s.working.Done()
	b := &Batch{now: s.now()}
	c.reading.Lock()
	c.partial = first
	goesOn := c.handle(b, nil)
	c.reading.Unlock()
	waiting := make([]byte, firstRead)
	for goesOn {
		data, err := c.readMore(waiting)
		if err != nil {
			break
		}
		if c.isClosing() {
			continue // thrown away, until check drops it
		}
		b.now = s.now()
		c.reading.Lock()
		goesOn = c.handle(b, data)
		c.reading.Unlock()
	}
	s.mu.Lock()
	delete(s.streams, c)
	s.mu.Unlock()
	c.waitWritten()
	_ = c.stream.Close()
	c.reading.Lock()
	c.finish(b)
	c.reading.Unlock()
	b.flush()
}

// handle takes data and waits as long as the rate wants it. It reports whether there is
// more to read. c.reading is held.
func (c *Conn) handle(b *Batch, data []byte) bool {
	for {
		if err := c.take(b, data); err != nil && !c.fail(err) {
			return false
		}
		b.flush()
		b.Scratch = nil // for the time of waiting
		if !c.paused {
			return true
		}
		c.server.counts.throttled.Add(1)
		if !c.pause() {
			return false
		}
		c.paused = false
		b.now, data = c.server.now(), nil
	}
}

// readMore waits for bytes with a small buffer, and reads with one of the frame's size
// once it is known.
func (c *Conn) readMore(waiting []byte) ([]byte, error) {
	if len(c.partial) > 0 {
		if h, n, err := parseHeader(c.partial); err == nil && n > 0 {
			missing := min(n+h.length-len(c.partial), nextRead)
			if missing > len(waiting) {
				waiting = make([]byte, missing)
			}
		}
	}
	n, err := c.stream.Read(waiting)
	if n > 0 {
		err = nil // it comes again
	}
	return waiting[:n], err
}

// pause waits until the rate allows another message, and reports whether the connection
// is still there. Nobody looks at the clocks of a connection that waits here.
func (c *Conn) pause() bool {
	for c.tooFast(c.server.now()) {
		time.Sleep(shortPause)
		c.mu.Lock()
		ended := c.state >= doomed
		c.mu.Unlock()
		if ended {
			return false
		}
	}
	return true
}

// shortPause is how often a paused connection looks whether it may go on.
const shortPause = 50 * time.Millisecond

// writeStream writes the queue until it is empty.
func (c *Conn) writeStream() {
	defer c.server.working.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.state < doomed && c.sent < len(c.queue) {
		next := c.queue[c.sent:]
		next = next[:min(len(next), flushAt)]
		c.mu.Unlock()
		_ = c.stream.SetWriteDeadline(time.Now().Add(c.server.config.Timeout))
		n, err := c.stream.Write(next)
		c.mu.Lock()
		c.sent += n
		if err != nil {
			if c.state < doomed {
				c.server.counts.slowReaders.Add(1)
			}
			c.doom()
		}
	}
	c.armed = false
	if c.state < doomed {
		c.emptied()
	}
	if half, can := c.stream.(interface{ CloseWrite() error }); can && c.state == closing {
		_ = half.CloseWrite()
	}
	if c.written != nil {
		close(c.written)
	}
}

// waitWritten gives what is on its way a short while: the client said goodbye and
// waits for ours.
func (c *Conn) waitWritten() {
	c.mu.Lock()
	written := make(chan struct{})
	armed := c.armed && c.state < doomed
	if armed {
		c.written = written
		_ = c.stream.SetWriteDeadline(time.Now().Add(c.server.config.Linger))
	}
	c.mu.Unlock()
	if armed {
		<-written
	}
}

// sweepStreams looks at the clocks of all connections with a goroutine.
func (s *Server) sweepStreams(stop <-chan struct{}) {
	defer s.working.Done()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var all []*Conn
	var b Batch
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		all = all[:0]
		s.mu.Lock()
		for c := range s.streams {
			all = append(all, c)
		}
		s.mu.Unlock()
		b.now = s.now()
		for i, c := range all {
			if c.reading.TryLock() { // else something is there to read
				c.check(&b)
				c.reading.Unlock()
			}
			all[i] = nil
		}
		b.flush()
	}
}

// closeSoon has whoever reads the stream end it, and closes it without waiting for that: TLS
// says goodbye first, for up to 5 s.
func (c *Conn) closeSoon() {
	_ = c.stream.SetReadDeadline(time.Now())
	c.server.working.Add(1)
	go func() {
		defer c.server.working.Done()
		_ = c.stream.Close()
	}()
}

// farewell says that the server goes away. One with a goroutine ends by itself then.
func (c *Conn) farewell() {
	c.Close(CloseGoingAway, "the server is going away")
	if c.loop == nil {
		_ = c.stream.SetReadDeadline(time.Now())
	}
}
