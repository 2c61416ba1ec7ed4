package client

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
)

// contributor is who sent a block; it outlives the connection.
type contributor struct {
	addr   netip.AddrPort
	peerID [20]byte
	web    bool // it is a browser
}

// suspect is what is kept of a piece that was wrong: once it has come right, the
// blocks that differ tell who sent wrong ones.
type suspect struct {
	attempts []attempt
}

type attempt struct {
	digests []uint64
	from    []any
}

// maxAttempts bounds the failed attempts remembered of a piece.
const maxAttempts = 8

// wrongPiece finds out who sent wrong data. A piece that came from one peer has
// its culprit at once. Of several it is not known which; the picker then gets the
// piece from one peer at a time, and when it is right rightPiece compares.
func (t *Torrent) wrongPiece(r disk.Result) {
	t.wasted.Add(t.Info().PieceSize(r.Piece))
	who := contributors(r.From)
	t.log.Warn("a piece had wrong data", "piece", r.Piece, "contributors", len(who))
	if len(who) == 1 {
		t.ban(who[0], r.Piece)
		return
	}
	s := t.loop.suspects[r.Piece]
	if s == nil {
		s = &suspect{}
		t.loop.suspects[r.Piece] = s
	}
	if len(s.attempts) < maxAttempts {
		s.attempts = append(s.attempts, attempt{r.Digests, r.From})
	}
}

// rightPiece bans whoever sent blocks of a piece that differ from the right ones.
func (t *Torrent) rightPiece(r disk.Result) {
	s := t.loop.suspects[r.Piece]
	if s == nil || r.Digests == nil {
		return
	}
	delete(t.loop.suspects, r.Piece)
	var wrong []any
	for _, a := range s.attempts {
		for i, d := range a.digests {
			if d != r.Digests[i] {
				wrong = append(wrong, a.from[i])
			}
		}
	}
	for _, c := range contributors(wrong) {
		t.ban(c, r.Piece)
	}
}

func contributors(from []any) (who []*contributor) {
	seen := make(map[*contributor]bool)
	for _, f := range from {
		if c, ok := f.(*contributor); ok && !seen[c] {
			seen[c] = true
			who = append(who, c)
		}
	}
	return who
}

// ban drops a peer and keeps it away for a while.
func (t *Torrent) ban(c *contributor, piece int) {
	why := fmt.Errorf("it sent wrong data for piece %d", piece)
	t.log.Warn("peer banned", "peer", c.addr, "err", why)
	t.loop.bans.add(c, time.Now())
	for p := range t.loop.peers {
		if p.who == c {
			t.drop(p, why)
		}
	}
}

const (
	// banFor is how long a ban lasts: a peer with a bad disk may get a new one.
	banFor = time.Hour
	// bansOfHost is after how many bans of peers at one IP address all of it is
	// banned. Fewer could be one bad client among many behind the address.
	bansOfHost = 4
	// maxBans bounds what is remembered.
	maxBans = 10000
)

// bans are peers that are kept away, by address and peer id, and by IP address
// after several. Loopback is never banned as a whole.
type bans struct {
	until map[any]time.Time // by netip.AddrPort, hostAndID or netip.Addr
	count map[netip.Addr]int
}

// hostAndID is a peer id where it was met: an id alone is no proof of anything.
type hostAndID struct {
	host   netip.Addr
	peerID [20]byte
}

func newBans() bans {
	return bans{until: make(map[any]time.Time), count: make(map[netip.Addr]int)}
}

func (b *bans) add(c *contributor, now time.Time) {
	if len(b.until) >= maxBans {
		clear(b.until)
		clear(b.count)
	}
	end := now.Add(banFor)
	host := c.addr.Addr()
	b.until[c.addr], b.until[hostAndID{host, c.peerID}] = end, end
	if b.count[host]++; b.count[host] >= bansOfHost && !host.IsLoopback() {
		b.until[host] = end
	}
}

func (b *bans) banned(addr netip.AddrPort, peerID [20]byte, now time.Time) bool {
	for _, key := range []any{addr, hostAndID{addr.Addr(), peerID}, addr.Addr()} {
		if end, ok := b.until[key]; ok && now.Before(end) {
			return true
		}
	}
	return false
}
