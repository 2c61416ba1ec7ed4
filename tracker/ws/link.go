package ws

import (
	"context"
	"crypto/rand"
	"net/netip"
	"sync"
)

// link is one connection of a socket.
type link struct {
	conn   Conn
	ctx    context.Context // ends with the connection
	shared *ID             // announced for every torrent; nil: each has its own

	mu         sync.Mutex
	first      *ID  // the first that was announced
	others     bool // another was announced too
	firstHeard bool // the tracker has answered to the first
	otherHeard bool // and to another
}

// speaker is the tracker's address; the zero Addr if it cannot be told.
func (l *link) speaker() netip.Addr {
	if conn, ok := l.conn.(interface{ Remote() netip.Addr }); ok {
		return conn.Remote()
	}
	return netip.Addr{}
}

// idOf is what a torrent's peer id is to the tracker.
func (l *link) idOf(peerID ID) ID {
	if l.shared != nil {
		return *l.shared
	}
	return peerID
}

// announceAs is idOf for an announce that is about to be sent.
func (l *link) announceAs(peerID ID) ID {
	id := l.idOf(peerID)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = &id
	}
	l.others = l.others || *l.first != id
	return id
}

// heard is idOf for a message of the tracker's to a torrent.
func (l *link) heard(peerID ID) ID {
	id := l.idOf(peerID)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first != nil && *l.first == id {
		l.firstHeard = true
	} else {
		l.otherHeard = true
	}
	return id
}

// identity is who we are to a tracker. Torrents have peer ids of their own, for
// which bittorrent-tracker and aquatic have room on one connection. wt-tracker (as of
// openwebtorrent.com) closes one on which a second appears: there, torrents share an id
// that is made up for this tracker and used nowhere else.
type identity struct {
	shared  *ID
	strikes int // connections in a row that ended as there
}

// strikesEnough is how many connections must have ended before any but the first peer
// id was answered, if the first was not either. Chance does that once.
const strikesEnough = 2

// prefixLen is how much of a peer id says which program we are (BEP 20).
const prefixLen = 8

// learn draws conclusions from a connection that has ended.
func (i *identity) learn(l *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case i.shared != nil:
		return
	case !l.others || l.otherHeard:
		i.strikes = 0
		return
	case l.firstHeard:
		i.strikes = strikesEnough
	default:
		i.strikes++
	}
	if i.strikes < strikesEnough {
		return
	}
	id := *l.first
	copy(id[prefixLen:], rand.Text()) // which is longer
	i.shared = &id
}
