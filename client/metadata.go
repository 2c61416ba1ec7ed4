package client

import (
	"cmp"
	"crypto/sha1"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/causeway-bt/causeway/client/allot"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
)

// The info dictionary is fetched whole from one peer, and from a few peers at once
// (BEP 9). It takes little longer than to gather it from all of them, and when the
// hash is wrong there is no doubt whose fault that was.
//
// Anybody may claim any size and send slowly. So each of the places is given by a rule
// of its own (metadataRules): no kind of liar holds them all. Who does not keep up a rate
// gives way to others that wait, and goes on later where it was.
const (
	// metadataQueue is how many of its pieces a peer may owe us.
	metadataQueue = 16
	// metadataTimeout is how long a peer may send none of them before another is
	// asked. It may try again after metadataRetry.
	metadataTimeout = 8 * time.Second
	metadataRetry   = 15 * time.Second
	// metadataTurn is how long a peer has its place whatever it sends, metadataRate
	// what it must send from then on to keep it while others wait, and
	// leastMetadataRate while nobody does; bytes per second.
	metadataTurn      = 3 * time.Second
	metadataRate      = 64 << 10
	leastMetadataRate = 2 << 10
)

// metadataFetch is the state of fetching the info dictionary.
type metadataFetch struct {
	places  [len(metadataRules)]*peer // that are being fetched from
	parsing bool                      // it has come, and is being looked at
}

// metadataPeer is the state of fetching it from one peer.
type metadataPeer struct {
	place   int // in metadataFetch.places, -1: none
	size    int64
	data    []byte // grown as pieces come, in order
	early   map[int][]byte
	taken   int64 // bytes of the budget
	asked   int   // next piece to ask for
	since   time.Time
	before  int64 // bytes that were there by then
	last    time.Time
	retry   time.Time // not before
	failure int       // times that it had a place and did not finish
}

func (m *metadataPeer) pieces() int {
	return int((m.size + wire.MetadataPieceSize - 1) / wire.MetadataPieceSize)
}

// slow reports whether the peer does not keep up a rate, in bytes per second.
func (m *metadataPeer) slow(now time.Time, rate int64) bool {
	d := now.Sub(m.since)
	return d > metadataTurn && int64(len(m.data))-m.before < int64(d.Seconds()*float64(rate))
}

// metadataRules say who gets each of the places: who claims a size that most hosts
// claim, who claims the smallest, and who has come last.
var metadataRules = [...]func(a, b *peer, hosts map[int64]int) int{
	func(a, b *peer, hosts map[int64]int) int {
		return cmp.Compare(hosts[b.ext.MetadataSize], hosts[a.ext.MetadataSize])
	},
	func(a, b *peer, _ map[int64]int) int { return cmp.Compare(a.ext.MetadataSize, b.ext.MetadataSize) },
	func(a, b *peer, _ map[int64]int) int { return b.joined.Compare(a.joined) },
}

// fetchMetadata asks peers for the info dictionary.
func (t *Torrent) fetchMetadata(now time.Time) {
	f := &t.loop.metadata
	if f.parsing {
		return
	}
	waiting, hosts := t.metadataWaiting(now)
	for _, p := range f.places {
		if p == nil {
			continue
		}
		m := p.metadata
		if now.Sub(m.last) > metadataTimeout || m.slow(now, leastMetadataRate) || len(waiting) > 0 && m.slow(now, metadataRate) {
			t.endMetadata(p, now)
		}
	}
	for place, rule := range metadataRules {
		if f.places[place] != nil || len(waiting) == 0 {
			continue
		}
		p := slices.MinFunc(waiting, func(a, b *peer) int {
			return cmp.Or(cmp.Compare(a.metadataFailures(), b.metadataFailures()), rule(a, b, hosts))
		})
		waiting = slices.DeleteFunc(waiting, func(other *peer) bool { return other == p })
		t.beginMetadata(p, place, now)
	}
}

func (p *peer) metadataFailures() int {
	if p.metadata == nil {
		return 0
	}
	return p.metadata.failure
}

// metadataWaiting returns the peers that could be fetched from and are not, and how
// many hosts claim each size.
func (t *Torrent) metadataWaiting(now time.Time) (waiting []*peer, hosts map[int64]int) {
	claims := make(map[int64]map[netip.Prefix]bool)
	for p := range t.loop.peers {
		size := p.ext.MetadataSize
		if p.ext.M[wire.ExtMetadata] == 0 || size <= 0 {
			continue
		}
		if size > meta.MaxInfoSize {
			t.drop(p, fmt.Errorf("it says that the metadata has %d bytes; more than %d are not accepted", size, meta.MaxInfoSize))
			continue
		}
		if claims[size] == nil {
			claims[size] = make(map[netip.Prefix]bool)
		}
		claims[size][allot.HostOf(p.addr.Addr())] = true
		if m := p.metadata; m == nil || m.place < 0 && !now.Before(m.retry) {
			waiting = append(waiting, p)
		}
	}
	hosts = make(map[int64]int, len(claims))
	for size, from := range claims {
		hosts[size] = len(from)
	}
	return waiting, hosts
}

// beginMetadata gives a peer a place.
func (t *Torrent) beginMetadata(p *peer, place int, now time.Time) {
	m := p.metadata
	if m == nil || m.size != p.ext.MetadataSize {
		if m != nil {
			t.client.early.Release(m.taken)
		}
		m = &metadataPeer{size: p.ext.MetadataSize, early: make(map[int][]byte)}
		p.metadata = m
	}
	m.place, m.since, m.last, m.before = place, now, now, int64(len(m.data))
	clear(m.early)
	m.asked = len(m.data) / wire.MetadataPieceSize
	t.loop.metadata.places[place] = p
	t.askMetadata(p)
}

// endMetadata takes a peer's place away for a while. What it has sent is kept.
func (t *Torrent) endMetadata(p *peer, now time.Time) {
	m := p.metadata
	if m == nil {
		return
	}
	if m.place >= 0 {
		t.loop.metadata.places[m.place] = nil
		m.place, m.retry = -1, now.Add(metadataRetry)
		m.failure++
	}
	if _, here := t.loop.peers[p]; !here {
		t.client.early.Release(m.taken)
		p.metadata = nil
	}
}

func (t *Torrent) askMetadata(p *peer) {
	m := p.metadata
	have := len(m.data)/wire.MetadataPieceSize + len(m.early)
	for m.asked < m.pieces() && m.asked-have < metadataQueue {
		request := wire.MetadataMessage{Type: wire.MetadataRequest, Piece: m.asked}
		p.w.Send(wire.Message{ID: wire.Extended, Ext: p.ext.M[wire.ExtMetadata], Payload: request.Encode()})
		m.asked++
	}
}

// metadataMessage serves the info dictionary, or takes in a piece of it.
func (t *Torrent) metadataMessage(p *peer, msg wire.MetadataMessage, now time.Time) error {
	switch msg.Type {
	case wire.MetadataRequest:
		return t.wantMetadata(p, msg.Piece)
	case wire.MetadataReject:
		t.endMetadata(p, now)
	case wire.MetadataData:
		if p.metadata != nil && p.metadata.place >= 0 && !t.loop.metadata.parsing {
			return t.metadataPiece(p, msg, now)
		}
	}
	return nil
}

const (
	// maxMetadataWanted bounds the requests of a peer for metadata that wait. It is
	// as many pieces as the largest metadata has: webtorrent.js asks for all at once.
	maxMetadataWanted = meta.MaxInfoSize / wire.MetadataPieceSize
	// metadataBacklog is how many bytes may wait to be sent to a peer before more
	// metadata is.
	metadataBacklog = 256 << 10
)

// wantMetadata queues a peer's request for a piece of the info dictionary.
func (t *Torrent) wantMetadata(p *peer, piece int) error {
	if len(p.metadataWanted) >= maxMetadataWanted {
		return fmt.Errorf("it asks for metadata faster than it takes it")
	}
	p.metadataWanted = append(p.metadataWanted, piece)
	t.serveMetadata(p)
	return nil
}

// serveMetadata answers as many requests for metadata as the peer keeps up with.
func (t *Torrent) serveMetadata(p *peer) {
	for len(p.metadataWanted) > 0 && p.w.Backlog() < metadataBacklog {
		t.serveMetadataPiece(p, p.metadataWanted[0])
		p.metadataWanted = p.metadataWanted[1:]
	}
}

func (t *Torrent) serveMetadataPiece(p *peer, piece int) {
	number := p.ext.M[wire.ExtMetadata]
	if number == 0 {
		return
	}
	reply := wire.MetadataMessage{Type: wire.MetadataReject, Piece: piece}
	if info := t.Info(); info != nil && piece < (len(info.Raw)+wire.MetadataPieceSize-1)/wire.MetadataPieceSize {
		start := piece * wire.MetadataPieceSize
		reply.Type, reply.TotalSize = wire.MetadataData, int64(len(info.Raw))
		reply.Data = info.Raw[start:min(start+wire.MetadataPieceSize, len(info.Raw))]
	}
	p.w.Send(wire.Message{ID: wire.Extended, Ext: number, Payload: reply.Encode()})
}

// metadataPiece takes in one piece, and with the last the whole.
func (t *Torrent) metadataPiece(p *peer, msg wire.MetadataMessage, now time.Time) error {
	m := p.metadata
	want := wire.MetadataPieceSize
	if msg.Piece == m.pieces()-1 {
		want = int(m.size) - msg.Piece*wire.MetadataPieceSize
	}
	if msg.Piece >= m.asked || len(msg.Data) != want {
		return fmt.Errorf("metadata piece %d of %d bytes, which was not asked for", msg.Piece, len(msg.Data))
	}
	next := len(m.data) / wire.MetadataPieceSize
	if msg.Piece < next || m.early[msg.Piece] != nil {
		return nil
	}
	// Of a single peer any size is taken; what many send at once has a bound.
	if n := int64(len(msg.Data)); t.client.early.Take(n) {
		m.taken += n
	} else if m.place != 0 {
		return errors.New("peers have sent as much metadata as there is memory for")
	}
	m.last = now
	m.early[msg.Piece] = msg.Data
	for data := m.early[next]; data != nil; data = m.early[next] {
		m.data = append(m.data, data...)
		delete(m.early, next)
		next++
	}
	if int64(len(m.data)) < m.size {
		t.askMetadata(p)
		return nil
	}
	t.parseMetadata(p, m.data)
	return nil
}

// parseMetadata looks at an info dictionary that has come, outside of the loop: a large
// one takes seconds.
func (t *Torrent) parseMetadata(p *peer, raw []byte) {
	t.loop.metadata.parsing = true
	r := t.loop.run
	t.spawn(func() {
		forged := sha1.Sum(raw) != t.infoHash
		var info *meta.Info
		var err error
		if !forged {
			info, err = meta.ParseInfo(raw)
		}
		t.do(func() {
			if r != t.loop.run {
				return
			}
			now := time.Now()
			t.loop.metadata.parsing = false
			switch {
			case forged:
				t.loop.bans.Add(p.Who, now)
				t.drop(p, errors.New("it sent forged metadata"))
				t.fetchMetadata(now)
			case err != nil:
				t.fail(fmt.Errorf("the torrent cannot be used: %w", err))
			default:
				t.gotMetadata(info)
			}
		})
	})
}

// fetchSources tries the URLs of .torrent files that the magnet link names, beside the
// search for peers.
func (t *Torrent) fetchSources() {
	m, r := t.source.magnet, t.loop.run
	if m == nil || len(m.Sources) == 0 {
		return
	}
	t.spawn(func() {
		loader := meta.Loader{Network: t.client.net}
		torrent, err := loader.FetchSources(r.ctx, m)
		if err != nil {
			t.log.Debug("the link's sources gave no metadata", "err", err)
			return
		}
		t.do(func() {
			if r == t.loop.run {
				t.gotMetadata(torrent.Info)
			}
		})
	})
}

// gotMetadata goes on with an info dictionary that is right.
func (t *Torrent) gotMetadata(info *meta.Info) {
	if t.loop.phase != phaseMetadata {
		return
	}
	if err := t.setInfo(info); err != nil {
		t.fail(err)
		return
	}
	t.setSlots()
	t.client.cfg.OnEvent(MetadataEvent{t.infoHash})
	if t.client.store != nil {
		t.spawn(func() {
			if err := t.client.store.SaveInfo(t.infoHash, info.Raw); err != nil {
				t.log.Warn("the metadata could not be saved", "err", err)
			}
		})
	}
	t.loop.metadata = metadataFetch{}
	for other := range t.loop.peers {
		if m := other.metadata; m != nil {
			t.client.early.Release(m.taken)
			other.metadata = nil
		}
		if other.reserved.Extended() { // it may fetch the metadata from us now
			other.w.Send(t.extHandshake(other))
		}
	}
	if info.Private {
		t.turnPrivate()
	}
	if t.opts.MetadataOnly {
		t.enter(phaseChecking)
		return
	}
	t.check(false)
}

// turnPrivate leaves a torrent, which was not known to be private, to its own trackers
// (BEP 27): peers that were found by other ways are let go.
func (t *Torrent) turnPrivate() {
	for _, s := range t.swarms {
		s.TurnPrivate()
	}
	for p := range t.loop.peers {
		if p.candidate == nil || !p.candidate.Invited() {
			t.drop(p, errPrivate)
		}
	}
}
