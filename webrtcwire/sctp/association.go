package sctp

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"
)

const (
	// firstRetry is after what INIT and COOKIE-ECHO are repeated first, doubled each time up to
	// maxRTO; after maxTries the association has failed.
	firstRetry = 400 * time.Millisecond
	maxTries   = 12

	// deadAfter is how long a peer may leave what we send without any answer. ICE's consent checks
	// end a dead path sooner; this is for a live path to a dead association.
	deadAfter = 40 * time.Second

	never = math.MaxInt64
)

// state is the life of an association: cookieWait -> cookieEchoed -> established -> ended, or to
// ended from anywhere. The peer's COOKIE-ECHO establishes it from each state before.
type state int

const (
	cookieWait state = iota
	cookieEchoed
	established
	ended
)

// Errors that end an association.
var (
	ErrClosed = errors.New("sctp: closed")
	ErrPeer   = errors.New("sctp: closed by the peer")
	ErrDead   = errors.New("sctp: the peer does not answer")
)

// Outlet carries packets away. Send is called with a lock held that Receive takes, so it must
// not wait for what is received.
type Outlet interface {
	// Room is the space that Send needs before and after each packet.
	Room() (head, tail int)

	// Send takes packets that follow each other in b, each with its room, of size bytes each
	// but for the last, which may be smaller. It may write in b, and not keep it, and must not
	// wait for the network: what there is no room for is lost. false: they are known to be larger than
	// the path takes, and go in fragments.
	Send(b []byte, size int) bool

	// SendOne takes one packet, with its room, as Send does: one that has to arrive whole or not at all, or, with
	// cut, that goes in fragments where it is too large. false: it is known not to arrive whole, or it cannot be
	// seen to.
	SendOne(b []byte, cut bool) bool
}

// Config is what an association is made for.
type Config struct {
	Outlet Outlet

	// Client says that we are the DTLS client, whose channels have even numbers
	// (RFC 8832 section 6).
	Client bool

	// Near is how much may be under way to a peer on this machine, in bytes: there is no path to
	// learn of. 0: it is elsewhere.
	Near int

	// Opened and Ended may be nil. They are called without locks, in the order in which things
	// happen: the peer has opened a channel; the association has ended, other than by Close.
	Opened func(*Channel)
	Ended  func(error)

	// Logger gets a line at debug level for what a peer does wrong. nil: silence.
	Logger *slog.Logger
}

// Association is one end of an SCTP association. Its methods may be used from any goroutine.
type Association struct {
	config     Config
	base       time.Time
	head, tail int
	done       chan struct{}

	mu      sync.Mutex
	state   state
	err     error
	events  []func() // to be called when mu is free
	telling bool

	tag, peerTag uint32
	nonce        [nonceSize]byte
	zeroChecksum bool // the peer takes packets without
	echo         []byte
	tries        int
	retryAt      int64

	out      sender
	in       receiver
	resets   resets
	model    model
	path     pathMTU
	channels map[uint16]*Channel
	nextID   uint16
	opened   int // channels of the peer, ever
	waiting  []reply

	timer *time.Timer
	armed int64 // when timer fires; never: not at all
}

// reply is a control chunk that waits to be sent.
type reply struct {
	tag   uint32
	chunk []byte
}

// New begins an association, over a path that is there.
func New(config Config) *Association {
	a := newAssociation(config)
	a.begin()
	return a
}

func newAssociation(config Config) *Association {
	a := &Association{
		config: config, base: time.Now(), done: make(chan struct{}), armed: never,
		channels: map[uint16]*Channel{},
	}
	if config.Logger == nil {
		a.config.Logger = slog.New(slog.DiscardHandler)
	}
	a.head, a.tail = config.Outlet.Room()
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	_, _ = rand.Read(a.nonce[:])
	a.tag = max(1, binary.BigEndian.Uint32(random[:]))
	a.out.begin(binary.BigEndian.Uint32(random[4:]))
	a.model.begin(config.Near)
	a.path.begin(0)
	if config.Near > ShortWindow {
		owns.Add(1)
	}
	a.nextID = 1
	if config.Client {
		a.nextID = 0
	}
	a.timer = time.AfterFunc(time.Hour, a.onTimer)
	a.timer.Stop()
	return a
}

// begin sends the first INIT.
func (a *Association) begin() {
	a.mu.Lock()
	defer a.unlock()
	a.retryAt = int64(firstRetry)
	a.sendInit()
	a.flush()
}

func (a *Association) now() int64 { return int64(time.Since(a.base)) }

func (a *Association) sendInit() {
	ours := a.ours()
	a.control(0, appendChunk(nil, chunkInit, 0, ours.append(nil)))
}

// Done is closed when the association has ended.
func (a *Association) Done() <-chan struct{} { return a.done }

// Err says why the association has ended; nil: it has not.
func (a *Association) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Close ends the association with an ABORT. What the peer has not acknowledged, and what nobody
// has read, is dropped.
func (a *Association) Close() {
	a.mu.Lock()
	defer a.unlock()
	a.leave()
	a.drop()
}

// Abort is Close, but leaves what has arrived to be read. Close is to follow.
func (a *Association) Abort() {
	a.mu.Lock()
	defer a.unlock()
	a.leave()
}

func (a *Association) leave() {
	if a.state != ended && a.peerTag != 0 {
		a.abort(causeUserInitiated, "")
	}
	a.end(ErrClosed)
}

// abort queues an ABORT and sends it.
func (a *Association) abort(cause uint16, reason string) {
	value := appendParam(nil, cause, []byte(reason[:min(len(reason), maxAbortReason)]))
	a.control(a.peerTag, appendChunk(nil, chunkAbort, 0, value))
	a.flushControl()
}

// violated ends the association because of what the peer did.
func (a *Association) violated(what string) {
	err := fmt.Errorf("sctp: protocol violation: %s", what)
	a.debug("aborting", err)
	a.abort(causeProtocolViolation, what)
	a.end(err)
}

// end is called with mu held. Channels can be read empty afterwards.
func (a *Association) end(err error) {
	if a.state == ended {
		return
	}
	a.state, a.err = ended, err
	if a.config.Near > ShortWindow {
		owns.Add(-1)
	}
	a.timer.Stop()
	a.armed = never
	close(a.done)
	a.out.drop()
	a.in.drop()
	a.waiting = nil
	for _, c := range a.channels {
		c.wake()
	}
	if a.config.Ended != nil && !errors.Is(err, ErrClosed) {
		a.tell(func() { a.config.Ended(err) })
	}
}

// drop gives the bytes that nobody has read back.
func (a *Association) drop() {
	for _, c := range a.channels {
		c.queue.drop()
		c.wake()
	}
}

// tell has f called once mu is free.
func (a *Association) tell(f func()) { a.events = append(a.events, f) }

// unlock frees mu and calls what tell was given, in order.
func (a *Association) unlock() {
	for !a.telling && len(a.events) > 0 {
		events := a.events
		a.events, a.telling = nil, true
		a.mu.Unlock()
		for _, f := range events {
			f()
		}
		a.mu.Lock()
		a.telling = false
	}
	a.mu.Unlock()
}

func (a *Association) debug(what string, err error) {
	a.config.Logger.Debug("sctp: "+what, "error", err)
}

// Receive takes a packet, which is not kept. Answers wait for Flush.
func (a *Association) Receive(packet []byte) {
	a.mu.Lock()
	defer a.unlock()
	if a.state == ended || len(packet) < headerSize || !intact(packet) {
		return
	}
	tag, rest := binary.BigEndian.Uint32(packet[4:]), packet[headerSize:]
	now := a.now()
	answered, data := 0, false
	for len(rest) > 0 && a.state != ended {
		c, after, err := nextChunk(rest)
		if err != nil {
			a.debug("bad chunk", err)
			break
		}
		if !a.tagged(tag, c, len(rest) == len(packet)-headerSize && len(after) == 0) {
			a.debug("dropped a packet", errTag)
			return
		}
		rest = after
		if c.kind == chunkData {
			data = true
		} else if c.kind != chunkSack {
			if answered++; answered > maxControlChunksPerPacket {
				break
			}
		}
		if !a.handle(now, c) {
			break
		}
	}
	if data {
		a.in.packets++
	}
	a.out.heard = now
}

var errTag = errors.New("wrong verification tag")

// tagged checks the verification tag (RFC 9260 section 8.5).
func (a *Association) tagged(tag uint32, c chunk, alone bool) bool {
	switch c.kind {
	case chunkInit:
		return tag == 0 && alone
	case chunkAbort, chunkShutdownComplete:
		if c.flags&1 != 0 {
			return a.peerTag != 0 && tag == a.peerTag
		}
	}
	return tag == a.tag
}

// handle returns whether to go on with the packet's next chunk.
func (a *Association) handle(now int64, c chunk) bool {
	switch c.kind {
	case chunkInit:
		a.handleInit(c)
	case chunkInitAck:
		a.handleInitAck(c)
	case chunkCookieEcho:
		a.handleCookieEcho(c)
	case chunkCookieAck:
		a.handleCookieAck()
	case chunkAbort:
		a.end(ErrPeer)
	case chunkHeartbeat:
		if len(c.value) <= a.path.size-headerSize-chunkHeader {
			a.control(a.peerTag, appendChunk(nil, chunkHeartbeatAck, 0, c.value))
		}
	case chunkShutdown, chunkShutdownAck: // what is under way is worth nothing without the peer
		kind := byte(chunkShutdownAck)
		if c.kind == chunkShutdownAck {
			kind = chunkShutdownComplete
		}
		a.control(a.peerTag, appendChunk(nil, kind, 0, nil))
		a.flushControl()
		a.end(ErrPeer)
	case chunkShutdownComplete:
		a.end(ErrPeer)
	case chunkHeartbeatAck:
		a.handleHeartbeatAck(now, c.value)
	case chunkError:
		a.debug("the peer reports", fmt.Errorf("chunk %d of %d bytes", c.kind, len(c.value)))
	case chunkData, chunkSack, chunkForwardTSN, chunkReconfig:
		if a.state == cookieEchoed {
			a.establish() // the peer would not send these yet, so its COOKIE-ACK was lost
		}
		if a.state != established {
			return false
		}
		a.handleEstablished(now, c)
	default:
		return c.kind&skipUnknown != 0
	}
	return true
}

func (a *Association) handleEstablished(now int64, c chunk) {
	switch c.kind {
	case chunkData:
		a.handleData(c)
	case chunkSack:
		a.handleSack(now, c.value)
	case chunkForwardTSN:
		a.handleForwardTSN(c.value)
	case chunkReconfig:
		a.handleReconfig(c.value)
	}
}

// Flush sends what the packets since the last Flush call for: acknowledgements, answers, and the
// data for which there is room now.
func (a *Association) Flush() {
	a.mu.Lock()
	defer a.unlock()
	if a.state != ended {
		a.flush()
	}
}

// control queues a control chunk. A flood of questions gets the first answers only.
func (a *Association) control(tag uint32, chunk []byte) {
	if len(a.waiting) < maxControlChunksPerPacket {
		a.waiting = append(a.waiting, reply{tag, chunk})
	}
}
