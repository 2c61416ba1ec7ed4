package client

import (
	"crypto/sha1"
	"fmt"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
)

// The info dictionary is fetched whole from one peer, and from a few peers at once
// (BEP 9). It takes little longer than to gather it from all of them, and when the
// hash is wrong there is no doubt whose fault that was.
const (
	metadataPeers = 3 // fetched from at a time
	// metadataQueue is how many of its pieces a peer may owe us.
	metadataQueue = 16
	// metadataTimeout is how long a peer may send none of them before another is
	// asked. It may try again after metadataRetry.
	metadataTimeout = 8 * time.Second
	metadataRetry   = 15 * time.Second
	// metadataTime, and the time it takes at metadataRate bytes per second, is what a
	// peer has for all of it.
	metadataTime = 30 * time.Second
	metadataRate = 32 << 10
)

// metadataFetch is the state of fetching the info dictionary.
type metadataFetch struct {
	active int // peers that are being fetched from
}

// metadataPeer is the state of fetching it from one peer.
type metadataPeer struct {
	active bool
	size   int64
	data   []byte // grown as pieces come, in order
	early  map[int][]byte
	asked  int // next piece to ask for
	last   time.Time
	end    time.Time // when it must all be here
	retry  time.Time // not before
}

func (m *metadataPeer) pieces() int {
	return int((m.size + wire.MetadataPieceSize - 1) / wire.MetadataPieceSize)
}

// fetchMetadata asks peers for the info dictionary.
func (t *Torrent) fetchMetadata(now time.Time) {
	f := &t.loop.metadata
	for p := range t.loop.peers {
		if m := p.metadata; m != nil && m.active && (now.Sub(m.last) > metadataTimeout || now.After(m.end)) {
			t.endMetadata(p, now)
		}
	}
	for p := range t.loop.peers {
		if f.active >= metadataPeers {
			return
		}
		if p.ext.M[wire.ExtMetadata] == 0 || p.ext.MetadataSize <= 0 {
			continue
		}
		if p.ext.MetadataSize > meta.MaxInfoSize {
			t.drop(p, fmt.Errorf("it says that the metadata has %d bytes; more than %d are not accepted", p.ext.MetadataSize, meta.MaxInfoSize))
			continue
		}
		if m := p.metadata; m != nil && (m.active || now.Before(m.retry)) {
			continue
		}
		p.metadata = &metadataPeer{active: true, size: p.ext.MetadataSize, early: make(map[int][]byte), last: now}
		p.metadata.end = now.Add(metadataTime + time.Duration(p.metadata.size/metadataRate)*time.Second)
		f.active++
		t.askMetadata(p)
	}
}

// endMetadata gives up on one peer for a while.
func (t *Torrent) endMetadata(p *peer, now time.Time) {
	if p.metadata == nil || !p.metadata.active {
		return
	}
	t.loop.metadata.active--
	p.metadata = &metadataPeer{retry: now.Add(metadataRetry)}
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
func (t *Torrent) metadataMessage(p *peer, payload []byte, now time.Time) error {
	msg, ok := wire.DecodeMetadataMessage(payload)
	if !ok {
		return nil
	}
	switch msg.Type {
	case wire.MetadataRequest:
		return t.wantMetadata(p, msg.Piece)
	case wire.MetadataReject:
		t.endMetadata(p, now)
	case wire.MetadataData:
		if p.metadata != nil && p.metadata.active {
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
	return t.gotMetadata(p, m.data, now)
}

func (t *Torrent) gotMetadata(p *peer, raw []byte, now time.Time) error {
	t.endMetadata(p, now)
	if t.loop.phase != phaseMetadata {
		return nil
	}
	if sha1.Sum(raw) != t.infoHash {
		t.loop.bans.add(p.who, now)
		return fmt.Errorf("it sent forged metadata")
	}
	info, err := meta.ParseInfo(raw)
	if err != nil {
		t.fail(fmt.Errorf("the torrent cannot be used: %w", err))
		return nil
	}
	if err := t.setInfo(info); err != nil {
		t.fail(err)
		return nil
	}
	if t.client.store != nil {
		t.spawn(func() {
			if err := t.client.store.SaveInfo(t.infoHash, raw); err != nil {
				t.log.Warn("the metadata could not be saved", "err", err)
			}
		})
	}
	for other := range t.loop.peers {
		other.metadata = nil
		if other.reserved.Extended() { // it may fetch the metadata from us now
			other.w.Send(t.extHandshake(other))
		}
	}
	if info.Private {
		t.turnPrivate()
	}
	if !t.opts.MetadataOnly {
		t.openFiles()
	}
	return nil
}
