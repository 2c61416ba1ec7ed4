package server

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"
)

// connectionIDs makes and checks the connection ids of BEP 15, without keeping any: an id
// is a keyed hash (SipHash-2-4) of the address and the present two minutes. It holds
// for these and the next two, as BEP 15 wants at least two minutes.
type connectionIDs struct {
	k0, k1 uint64
	epoch  atomic.Uint64
}

const connectionEpoch = 2 * time.Minute

// ConnectionIDByte is the first byte of each connection id and so of each packet of a
// UDP tracker's clients other than connects. It is one that STUN, DTLS, TURN, DHT and
// uTP packets on the same port do not begin with (RFC 7983: below 192; uTP: below 0x42).
const ConnectionIDByte = 0xca

func (c *connectionIDs) init(now time.Time) {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	c.k0, c.k1 = binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:])
	c.tick(now)
}

func (c *connectionIDs) tick(now time.Time) {
	c.epoch.Store(uint64(now.UnixNano() / int64(connectionEpoch)))
}

func (c *connectionIDs) make(from netip.Addr) uint64 { return c.at(from, c.epoch.Load()) }

func (c *connectionIDs) valid(from netip.Addr, id uint64) bool {
	epoch := c.epoch.Load()
	return id == c.at(from, epoch) || id == c.at(from, epoch-1)
}

func (c *connectionIDs) at(from netip.Addr, epoch uint64) uint64 {
	a := from.As16()
	h := siphash(c.k0, c.k1, binary.LittleEndian.Uint64(a[:]), binary.LittleEndian.Uint64(a[8:]), epoch)
	return ConnectionIDByte<<56 | h>>8
}

// siphash is SipHash-2-4 of three words, without the length that it appends to messages,
// all of which have the same here.
func siphash(k0, k1 uint64, words ...uint64) uint64 {
	v0, v1, v2, v3 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d, k0^0x6c7967656e657261, k1^0x7465646279746573
	round := func() {
		v0 += v1
		v2 += v3
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v1
		v0 += v3
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 = bits.RotateLeft64(v2, 32)
	}
	for _, w := range words {
		v3 ^= w
		round()
		round()
		v0 ^= w
	}
	v2 ^= 0xff
	round()
	round()
	round()
	round()
	return v0 ^ v1 ^ v2 ^ v3
}
