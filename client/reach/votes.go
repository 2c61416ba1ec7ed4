package reach

import (
	"net/netip"
	"time"

	"github.com/causeway-bt/causeway/client/network"
)

// Kind is a kind of those who tell us our address.
type Kind int

const (
	Peer    Kind = iota // `yourip` of an extension handshake (BEP 10)
	DHT                 // `ip` of an answer (BEP 42)
	Tracker             // `external ip` of an answer (BEP 24)
	STUN
	numKinds
)

const (
	// maxVoters bounds the networks of each kind that are listened to; who spoke longest
	// ago is forgotten first.
	maxVoters = 64
	// voteLife is how long a vote counts.
	voteLife = time.Hour
	// quorum is how many voters must say the same.
	quorum = 3
	// A voter is a network of so many bits: whoever has one address has its neighbours.
	voterBits4 = 16
	voterBits6 = 32
)

// votes counts what others say is our address of one family. A network has one vote of each
// kind, its last; an address counts that more than half of the voters agree on, three at least:
// one who lies changes nothing.
type votes [numKinds]map[netip.Prefix]vote

type vote struct {
	seen netip.Addr
	at   time.Time
}

// add counts a vote, and reports whether it is one.
func (v *votes) add(kind Kind, voter, seen netip.Addr, now time.Time) bool {
	voter, seen = voter.Unmap().WithZone(""), seen.Unmap().WithZone("")
	if !network.IsGlobal(voter) || !network.IsGlobal(seen) {
		return false // it sees us from inside
	}
	bits := voterBits6
	if voter.Is4() {
		bits = voterBits4
	}
	from, err := voter.Prefix(bits)
	if err != nil {
		return false
	}
	if v[kind] == nil {
		v[kind] = map[netip.Prefix]vote{}
	}
	v[kind][from] = vote{seen, now}
	if len(v[kind]) > maxVoters {
		oldest := from
		for f, other := range v[kind] {
			if other.at.Before(v[kind][oldest].at) {
				oldest = f
			}
		}
		delete(v[kind], oldest)
	}
	return true
}

// winner is the address that is agreed on, the zero one if none is.
func (v *votes) winner(now time.Time) netip.Addr {
	counts, all := map[netip.Addr]int{}, 0
	for _, of := range v {
		for from, vote := range of {
			if now.Sub(vote.at) > voteLife {
				delete(of, from)
				continue
			}
			counts[vote.seen]++
			all++
		}
	}
	for seen, n := range counts {
		if n >= quorum && 2*n > all {
			return seen
		}
	}
	return netip.Addr{}
}

// clear forgets all votes: they are about another network.
func (v *votes) clear() { *v = votes{} }
