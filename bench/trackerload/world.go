//go:build linux

package main

import (
	"crypto/sha1"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// world is the peers that there are. Peer n is in swarm n/each, has address n%sources,
// and a port that no other peer of the swarm has at that address.
type world struct {
	swarms, each, sources int
}

func (w world) total() int       { return w.swarms * w.each }
func (w world) swarm(n int) int  { return n / w.each }
func (w world) source(n int) int { return n % w.sources }

// port leaves out those below 10000, so that all have as many digits.
func (w world) port(n int) uint16 {
	const first, count = 10_000, 50_000
	return uint16(first + n/w.sources%count)
}

// pick returns any peer of a source.
func (w world) pick(source int, random *rand.Rand) int {
	n := (w.total() - source + w.sources - 1) / w.sources
	return source + w.sources*random.IntN(n)
}

// address is where a source sends from: 127.1.0.1 and on.
func address(source int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(1 + source/250/250), byte(source / 250 % 250), byte(1 + source%250)})
}

// infoHash is the name of a swarm.
func infoHash(swarm int) [20]byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(swarm))
	return sha1.Sum(b[:])
}

// seeds says whether a peer has everything: one in four.
func seeds(n int) bool { return n%4 == 3 }

func newRandom() *rand.Rand { return rand.New(rand.NewPCG(9, 41)) } // the same for every tracker
