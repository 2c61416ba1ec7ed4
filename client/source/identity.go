package source

import (
	"net/netip"
	"time"
)

// Identity is who sent a block; it outlives the connection.
type Identity struct {
	Addr   netip.AddrPort // of a peer
	PeerID [20]byte       // of a peer
	URL    string         // of a web seed
	Web    bool           // it is a browser
}

// String names it in logs.
func (i *Identity) String() string {
	if i.URL != "" {
		return i.URL
	}
	return i.Addr.String()
}

// Identities returns the different ones among those that sent the blocks of a piece.
func Identities(from []any) (who []*Identity) {
	seen := make(map[*Identity]bool)
	for _, f := range from {
		if i, ok := f.(*Identity); ok && !seen[i] {
			seen[i] = true
			who = append(who, i)
		}
	}
	return who
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

// Bans are sources that are kept away: by URL, by address and peer id, and by IP
// address after several. Loopback is never banned as a whole.
type Bans struct {
	until map[any]time.Time // by string, netip.AddrPort, hostAndID or netip.Addr
	count map[netip.Addr]int
}

// hostAndID is a peer id where it was met: an id alone is no proof of anything.
type hostAndID struct {
	host   netip.Addr
	peerID [20]byte
}

// NewBans returns an empty set.
func NewBans() *Bans {
	return &Bans{until: make(map[any]time.Time), count: make(map[netip.Addr]int)}
}

// Add bans a source.
func (b *Bans) Add(i *Identity, now time.Time) {
	if len(b.until) >= maxBans {
		clear(b.until)
		clear(b.count)
	}
	end := now.Add(banFor)
	if i.URL != "" {
		b.until[i.URL] = end
		return
	}
	host := i.Addr.Addr()
	b.until[i.Addr], b.until[hostAndID{host, i.PeerID}] = end, end
	if b.count[host]++; b.count[host] >= bansOfHost && !host.IsLoopback() {
		b.until[host] = end
	}
}

// Banned reports whether a source is kept away. The peer id is zero while it is not
// known.
func (b *Bans) Banned(i *Identity, now time.Time) bool {
	keys := []any{i.URL}
	if i.URL == "" {
		keys = []any{i.Addr, hostAndID{i.Addr.Addr(), i.PeerID}, i.Addr.Addr()}
	}
	for _, key := range keys {
		if end, ok := b.until[key]; ok && now.Before(end) {
			return true
		}
	}
	return false
}
