package client

import (
	"bytes"
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

// The info dictionary is fetched whole from one peer, and from several peers at once
// (BEP 9). It takes little longer than to gather it from all of them, and when the
// hash is wrong there is no doubt whose fault that was.
//
// Anybody may claim any size and send slowly. So the places go round: who does not keep
// up a rate gives way to others that wait, first to those of hosts that have had the
// fewest turns, and goes on later where it was. Among equals each place is given by a rule
// of its own (metadataRules): no kind of liar holds them all.
const (
	// metadataPlaces is how many peers are asked at once.
	metadataPlaces = 12
	// metadataQueue is how many of its pieces a peer may owe us.
	metadataQueue = 16
	// metadataTimeout is how long a peer may send none of them before it has to wait for
	// metadataRetry.
	metadataTimeout = 8 * time.Second
	metadataRetry   = 5 * time.Second
	// metadataTurn is how long a peer has its place whatever it sends while others wait,
	// and metadataRate what it must send from then on to keep it; leastMetadataTurn and
	// leastMetadataRate are the same while nobody waits; bytes per second.
	metadataTurn      = time.Second
	metadataRate      = 64 << 10
	leastMetadataTurn = 3 * time.Second
	leastMetadataRate = 2 << 10
	// freeMetadata is how many bytes a peer may have sent before they take from the
	// client's budget: more than most torrents have.
	freeMetadata = 256 << 10
	// maxMetadataHosts bounds the hosts whose turns are remembered.
	maxMetadataHosts = 4096
)

// metadataFetch is the state of fetching the info dictionary.
type metadataFetch struct {
	places  [metadataPlaces]*peer // that are being fetched from
	turns   map[netip.Prefix]int  // that hosts have had in vain, whatever became of their peers
	parsing bool                  // it has come, and is being looked at
}

// metadataPeer is the state of fetching it from one peer.
type metadataPeer struct {
	place   int // in metadataFetch.places, -1: none
	size    int64
	parts   map[int][]byte
	bytes   int64 // of parts
	taken   int64 // of the budget
	asked   int   // next piece to ask for
	owed    int   // pieces asked for and not there
	since   time.Time
	before  int64 // bytes that were there by then
	last    time.Time
	retry   time.Time // not before
	failure int       // times that it had a place and did not finish
}

func (m *metadataPeer) pieces() int {
	return int((m.size + wire.MetadataPieceSize - 1) / wire.MetadataPieceSize)
}

// late reports whether the peer does not keep up a rate, in bytes per second, beyond
// its turn.
func (m *metadataPeer) late(now time.Time, turn time.Duration, rate int64) bool {
	d := now.Sub(m.since)
	return d > turn && m.bytes-m.before < int64(d.Seconds()*float64(rate))
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
	waiting, hosts := t.metadataWaiting(now)
	for _, p := range f.places {
		if p == nil {
			continue
		}
		m := p.metadata
		if now.Sub(m.last) > metadataTimeout || m.late(now, leastMetadataTurn, leastMetadataRate) ||
			len(waiting) > 0 && m.late(now, metadataTurn, metadataRate) {
			t.endMetadata(p, now)
		}
	}
	for place := range f.places {
		if f.places[place] != nil || len(waiting) == 0 {
			continue
		}
		rule := metadataRules[place%len(metadataRules)]
		p := slices.MinFunc(waiting, func(a, b *peer) int {
			return cmp.Or(cmp.Compare(f.turns[a.host()], f.turns[b.host()]),
				cmp.Compare(a.metadataFailures(), b.metadataFailures()), rule(a, b, hosts))
		})
		waiting = slices.DeleteFunc(waiting, func(other *peer) bool { return other == p })
		t.beginMetadata(p, place, now)
	}
}

func (p *peer) host() netip.Prefix { return allot.HostOf(p.addr.Addr()) }

func (p *peer) metadataFailures() int {
	if p.metadata == nil {
		return 0
	}
	return p.metadata.failure
}

// metadataWaiting returns the peers that could be fetched from and are not, and how
// many hosts claim each size.
func (t *Torrent) metadataWaiting(now time.Time) (waiting []*peer, hosts map[int64]int) {
	for p := range t.loop.peers {
		size := p.ext.MetadataSize
		if p.ext.M[wire.ExtMetadata] == 0 || size <= 0 {
			continue
		}
		if size > meta.MaxInfoSize {
			t.drop(p, fmt.Errorf("it says that the metadata has %d bytes; more than %d are not accepted", size, meta.MaxInfoSize))
			continue
		}
		if m := p.metadata; m == nil || m.place < 0 && !now.Before(m.retry) && !m.complete() {
			waiting = append(waiting, p)
		}
	}
	return waiting, t.metadataClaims()
}

// metadataClaims returns how many hosts claim each size.
func (t *Torrent) metadataClaims() map[int64]int {
	claims := make(map[int64]map[netip.Prefix]bool)
	for p := range t.loop.peers {
		size := p.ext.MetadataSize
		if claims[size] == nil {
			claims[size] = make(map[netip.Prefix]bool)
		}
		claims[size][p.host()] = true
	}
	hosts := make(map[int64]int, len(claims))
	for size, from := range claims {
		hosts[size] = len(from)
	}
	return hosts
}

// beginMetadata gives a peer a place.
func (t *Torrent) beginMetadata(p *peer, place int, now time.Time) {
	m := p.metadata
	if m == nil || m.size != p.ext.MetadataSize {
		failure := p.metadataFailures()
		if m != nil {
			t.forgetMetadata(m)
		}
		m = &metadataPeer{size: p.ext.MetadataSize, failure: failure, parts: make(map[int][]byte)}
		p.metadata = m
	}
	m.place, m.since, m.last, m.before = place, now, now, m.bytes
	m.asked, m.owed = 0, 0
	t.loop.metadata.places[place] = p
	t.askMetadata(p)
}

// endMetadata takes a peer's place away for a while. What it has sent is kept, and what
// it was asked for may still come.
func (t *Torrent) endMetadata(p *peer, now time.Time) {
	m, f := p.metadata, &t.loop.metadata
	if m == nil {
		return
	}
	if m.place >= 0 {
		f.places[m.place] = nil
		m.place, m.retry = -1, now.Add(metadataRetry)
		m.failure++
		if f.turns == nil || len(f.turns) >= maxMetadataHosts {
			f.turns = make(map[netip.Prefix]int)
		}
		f.turns[p.host()]++
	}
	if _, here := t.loop.peers[p]; !here {
		t.forgetMetadata(m)
		p.metadata = nil
	}
}

// forgetMetadata drops what a peer has sent.
func (t *Torrent) forgetMetadata(m *metadataPeer) {
	t.client.metadata.Release(m.taken)
	clear(m.parts)
	m.bytes, m.taken = 0, 0
}

func (t *Torrent) askMetadata(p *peer) {
	m := p.metadata
	for ; m.asked < m.pieces() && m.owed < metadataQueue; m.asked++ {
		if m.parts[m.asked] != nil {
			continue
		}
		request := wire.MetadataMessage{Type: wire.MetadataRequest, Piece: m.asked}
		p.w.Send(wire.Message{ID: wire.Extended, Ext: p.ext.M[wire.ExtMetadata], Payload: request.Encode()})
		m.owed++
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
		if p.metadata != nil && t.loop.phase == phaseMetadata {
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
	// maxMetadataCopies is how often over a peer may have it.
	maxMetadataCopies = 4
)

// wantMetadata queues a peer's request for a piece of the info dictionary.
func (t *Torrent) wantMetadata(p *peer, piece int) error {
	if len(p.metadataWanted) >= maxMetadataWanted {
		return fmt.Errorf("it asks for metadata faster than it takes it")
	}
	if info := t.Info(); info != nil && p.metadataServed > maxMetadataCopies*(len(info.Raw)/wire.MetadataPieceSize+1) {
		return fmt.Errorf("it asked for the metadata %d times over", maxMetadataCopies)
	}
	p.metadataWanted = append(p.metadataWanted, piece)
	t.serveMetadata(p)
	return nil
}

// serveMetadata answers as many requests for metadata as the peer keeps up with.
func (t *Torrent) serveMetadata(p *peer) {
	for len(p.metadataWanted) > 0 && p.w.Backlog() < metadataBacklog {
		t.serveMetadataPiece(p, p.metadataWanted[0])
		if t.Info() != nil {
			p.metadataServed++
		}
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
	if msg.Piece >= m.pieces() || len(msg.Data) != want {
		return fmt.Errorf("metadata piece %d of %d bytes, which was not asked for", msg.Piece, len(msg.Data))
	}
	if msg.Piece >= m.asked || m.parts[msg.Piece] != nil || m.complete() {
		return nil
	}
	if !t.roomForMetadata(p, int64(len(msg.Data)), now) {
		return nil
	}
	m.last = now
	m.owed = max(m.owed-1, 0)
	m.parts[msg.Piece] = bytes.Clone(msg.Data) // not the message, which may be longer
	m.bytes += int64(len(msg.Data))
	switch {
	case m.complete():
		t.parseMetadata()
	case m.place >= 0:
		t.askMetadata(p)
	}
	return nil
}

// complete reports whether all of it has come. It may be forged.
func (m *metadataPeer) complete() bool { return m.size > 0 && m.bytes == m.size }

// roomForMetadata makes room for what a peer has sent. Each may send a little, and all
// share a budget for the rest; when that is used up, the peer whose size the fewest hosts
// claim loses what it has sent, and of several the one that has sent most.
func (t *Torrent) roomForMetadata(p *peer, n int64, now time.Time) bool {
	m := p.metadata
	if m.bytes+n <= freeMetadata {
		return true
	}
	hosts := t.metadataClaims()
	for !t.client.metadata.Take(n) {
		victim := p
		for other := range t.loop.peers {
			o := other.metadata
			if o == nil || o.taken == 0 {
				continue
			}
			if order := cmp.Or(cmp.Compare(hosts[o.size], hosts[victim.metadata.size]), cmp.Compare(victim.metadata.taken, o.taken)); order < 0 {
				victim = other
			}
		}
		t.forgetMetadata(victim.metadata)
		t.endMetadata(victim, now)
		if victim == p {
			return false
		}
	}
	m.taken += n
	return true
}

// parseMetadata looks at an info dictionary that has come, outside of the loop: a large
// one takes seconds.
func (t *Torrent) parseMetadata() {
	f := &t.loop.metadata
	if f.parsing {
		return
	}
	for p := range t.loop.peers {
		if p.metadata != nil && p.metadata.complete() {
			f.parsing = true
			t.lookAtMetadata(p)
			return
		}
	}
}

func (t *Torrent) lookAtMetadata(p *peer) {
	r, m := t.loop.run, p.metadata
	parts := make([][]byte, m.pieces())
	for i := range parts {
		parts[i] = m.parts[i]
	}
	t.spawn(func() {
		hash := sha1.New()
		for _, part := range parts {
			hash.Write(part)
		}
		forged := [20]byte(hash.Sum(nil)) != t.infoHash
		var info *meta.Info
		var err error
		if !forged {
			err = t.guardTask("parsing metadata", func() (err error) {
				info, err = meta.ParseInfo(bytes.Join(parts, nil))
				return err
			})
		}
		t.do(func() {
			if r == t.loop.run {
				t.metadataParsed(p, info, forged, err)
			}
		})
	})
}

// metadataParsed takes in what became of the metadata that a peer has sent.
func (t *Torrent) metadataParsed(p *peer, info *meta.Info, forged bool, err error) {
	now := time.Now()
	t.loop.metadata.parsing = false
	switch {
	case t.loop.phase != phaseMetadata:
	case forged:
		t.loop.bans.Add(p.Who, now)
		t.drop(p, errForged)
		t.fetchMetadata(now)
		t.parseMetadata()
	case err != nil:
		t.fail(fmt.Errorf("the torrent cannot be used: %w", err))
	default:
		t.gotMetadata(info)
	}
}

var errForged = errors.New("it sent forged metadata")

// fetchSources tries the URLs of .torrent files that the magnet link names, beside the
// search for peers.
func (t *Torrent) fetchSources() {
	m, r := t.source.magnet, t.loop.run
	if m == nil || len(m.Sources) == 0 {
		return
	}
	t.spawn(func() {
		loader := meta.Loader{Network: t.client.net}
		var torrent *meta.Torrent
		err := t.guardTask("fetching the link's sources", func() (err error) {
			torrent, err = loader.FetchSources(r.ctx, m)
			return err
		})
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
			t.forgetMetadata(m)
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
