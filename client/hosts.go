package client

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/client/content"
	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/source"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/tracker"
	"github.com/causeway-bt/causeway/wire"
)

// contentHost is how a content.Content sees its torrent. What comes from a content
// that the torrent has given up is not heard.
type contentHost struct {
	t       *Torrent
	content atomic.Pointer[content.Content]
}

func (h *contentHost) current() bool { return h.t.loop.content == h.content.Load() }

func (h *contentHost) Do(f func()) bool { return h.t.do(f) }
func (h *contentHost) Go(f func()) bool { return h.t.spawn(f) }

func (h *contentHost) Ended(c *content.Content, r disk.Result) { h.t.mail.fromDisk(c, r) }

func (h *contentHost) Counters() (downloaded, uploaded int64) {
	return h.t.downloaded.Load(), h.t.uploaded.Load()
}

func (h *contentHost) Wasted(bytes int64) { h.t.wasted.Add(bytes) }

func (h *contentHost) Sources(yield func(*source.Source) bool) {
	for p := range h.t.loop.peers {
		if !yield(p.Source) {
			return
		}
	}
}

func (h *contentHost) TakeBack(s *source.Source, r source.Request) { h.t.takeBack(s, r) }

func (h *contentHost) Ban(who *source.Identity, piece int) { h.t.ban(who, piece) }

func (h *contentHost) RequestAll(now time.Time) { h.t.requestAll(now) }

func (h *contentHost) Announce(piece int) {
	for p := range h.t.loop.peers {
		p.w.Send(wire.Message{ID: wire.Have, Index: uint32(piece)})
	}
}

func (h *contentHost) Withdraw(piece int) {
	for p := range h.t.loop.peers {
		p.w.StopServing(func(b wire.Block) bool { return int(b.Piece) != piece })
		if number := p.ext.M[wire.ExtDontHave]; number != 0 {
			p.w.Send(wire.Message{ID: wire.Extended, Ext: number, Payload: wire.EncodeDontHave(uint32(piece))})
		}
	}
}

func (h *contentHost) Completed() {
	if h.current() {
		h.t.completed()
	}
}

func (h *contentHost) Incomplete() {
	if h.current() {
		h.t.complete.reset()
		h.t.tellState()
	}
}

func (h *contentHost) Fail(err error) {
	if h.current() {
		h.t.fail(err)
	}
}

func (h *contentHost) Warn(message string) { h.t.client.warn(h.t.infoHash, message) }

func (h *contentHost) Wake() { h.t.wakeUp() }

// completed follows the moment in which the last wanted piece is there.
func (t *Torrent) completed() {
	if t.loop.content.Gained() { // else trackers have heard of it, or never will
		for _, s := range t.swarms {
			s.Completed()
		}
	}
	t.complete.set() // after that, a command may exit
	t.client.cfg.OnEvent(CompleteEvent{t.infoHash})
	t.tellState()
	for p := range t.loop.peers {
		t.dropIfBothSeeds(p)
		if p.ext.M != nil {
			p.w.Send(t.extHandshake(p)) // upload_only
		}
	}
}

// swarmHost is how a swarm.Swarm sees its torrent.
type swarmHost struct{ t *Torrent }

func (h swarmHost) Do(f func()) bool { return h.t.do(f) }
func (h swarmHost) Go(f func()) bool { return h.t.spawn(f) }

// Attach hands a connection with finished handshakes to the loop.
func (h swarmHost) Attach(ctx context.Context, c swarm.Conn) error {
	select {
	case h.t.joins <- &c:
		return nil
	case <-h.t.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return errors.New("the torrent did not take it in time")
	}
}

func (h swarmHost) MayJoin(s *swarm.Swarm, peerID [20]byte) error {
	t := h.t
	switch p := t.connected(peerID); {
	case peerID == s.PeerID():
		return errSelf
	case t.Err() != nil:
		return t.Err()
	// Whoever has its peer id over TCP may have gone silent.
	case p != nil && (p.kind == swarm.WebRTC || !t.better(&swarm.Conn{Kind: swarm.WebRTC, Swarm: s}, p)):
		return errDuplicate
	case !t.roomFor(time.Now()):
		return errFull
	}
	return nil
}

func (h swarmHost) Connected(peerID [20]byte) bool { return h.t.connected(peerID) != nil }
func (h swarmHost) Full() bool                     { return !h.t.roomFor(time.Now()) }
func (h swarmHost) Browsers() int                  { return int(h.t.webPeers.Load()) }
func (h swarmHost) Private() bool                  { return !h.t.mayDiscover() }
func (h swarmHost) Announced() tracker.Stats       { return h.t.announceStats() }
func (h swarmHost) Wake()                          { h.t.wakeUp() }
func (h swarmHost) Warn(message string)            { h.t.client.warn(h.t.infoHash, message) }

func (h swarmHost) Unreached(s *swarm.Swarm, addr netip.AddrPort) { h.t.unreached(s, addr) }

func (h swarmHost) Banned(who *source.Identity) bool {
	return h.t.loop.bans.Banned(who, time.Now())
}

func (h swarmHost) TrackerStatus(s tracker.Status) {
	h.t.client.cfg.OnEvent(TrackerEvent{
		InfoHash: h.t.infoHash, URL: s.URL, OK: s.OK, Seeds: s.Seeds, Leeches: s.Leeches,
		Message: s.Message, Next: s.Next,
	})
}

func (h swarmHost) Alone(reason string) {
	h.t.client.cfg.OnEvent(NoBrowserEvent{h.t.infoHash, reason})
}
