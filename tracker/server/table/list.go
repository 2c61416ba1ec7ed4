package table

import (
	"encoding/binary"
	"net/netip"
)

// kind says how the records of one address family's peers look: address and port in
// compact form, then two bytes of flags and time, then four that stand for the peer id.
type kind struct {
	family  int // place in Table.classic
	addrLen int // address and port
	hostLen int // of it, what counts as one host
	stride  int // a record
}

const (
	recordTail = 2 + 4
	stride4    = 6 + recordTail
	stride6    = 18 + recordTail
)

var (
	kind4 = &kind{0, 6, 4, stride4}
	kind6 = &kind{1, 18, 8, stride6}
)

// Flags of a peer.
const (
	flagSeed    = 1 << iota
	flagPartial // a partial seed
	flagShadow  // the peer has another entry, which counts
	flagBits    = iota
	flagMask    = 1<<flagBits - 1
)

// A record's time is in units of 8 s and has the other 13 bits; it comes around in 18 h.
const (
	seenUnit = 8 // seconds
	seenMask = 1<<(16-flagBits) - 1
)

func (k *kind) meta(rec []byte) uint16 { return binary.LittleEndian.Uint16(rec[k.addrLen:]) }

func (k *kind) flags(rec []byte) byte { return rec[k.addrLen] & flagMask }

func (k *kind) setFlags(rec []byte, f byte) { rec[k.addrLen] = rec[k.addrLen]&^flagMask | f }

func (k *kind) setMeta(rec []byte, now uint16, f byte) {
	binary.LittleEndian.PutUint16(rec[k.addrLen:], now<<flagBits|uint16(f))
}

// age is how long ago a peer was seen, in units of seenUnit.
func (k *kind) age(rec []byte, now uint16) uint16 { return (now - k.meta(rec)>>flagBits) & seenMask }

func (k *kind) tag(rec []byte) uint32 { return binary.LittleEndian.Uint32(rec[k.addrLen+2:]) }

func (k *kind) setTag(rec []byte, tag uint32) {
	binary.LittleEndian.PutUint32(rec[k.addrLen+2:], tag)
}

// host returns what is one host's in an address.
func (k *kind) host(addr []byte) uint64 {
	if k.hostLen == 4 {
		return uint64(binary.BigEndian.Uint32(addr))
	}
	return binary.BigEndian.Uint64(addr) ^ 1<<63 // as hostKey
}

// putAddr writes address and port in compact form (BEP 23, BEP 7).
func putAddr(b *[18]byte, a netip.AddrPort) []byte {
	if ip := a.Addr(); ip.Is4() {
		b4 := ip.As4()
		copy(b[:], b4[:])
		binary.BigEndian.PutUint16(b[4:], a.Port())
		return b[:6]
	}
	b16 := a.Addr().As16()
	copy(b[:], b16[:])
	binary.BigEndian.PutUint16(b[16:], a.Port())
	return b[:]
}

// search looks through records for a peer, and returns its place, or -1 and how many
// others are of its host.
func search(recs []byte, k *kind, addr []byte) (place, sameHost int) {
	if k == kind4 {
		return search4(recs, addr)
	}
	host := k.host(addr)
	for i, b := 0, recs; len(b) >= k.stride; i, b = i+1, b[k.stride:] {
		if k.host(b) != host {
			continue
		}
		if string(b[:k.addrLen]) == string(addr) {
			return i, 0
		}
		sameHost++
	}
	return -1, sameHost
}

// search4 is search for IPv4: it compares address and port in one step.
func search4(recs, addr []byte) (place, sameHost int) {
	want := uint64(binary.LittleEndian.Uint32(addr)) | uint64(binary.LittleEndian.Uint16(addr[4:]))<<32
	for b := recs; len(b) >= stride4; b = b[stride4:] {
		differ := binary.LittleEndian.Uint64(b) ^ want
		if differ<<16 == 0 {
			return (len(recs) - len(b)) / stride4, 0
		}
		if uint32(differ) == 0 {
			sameHost++
		}
	}
	return -1, sameHost
}

// searchTag looks for a peer id's tag among the first tagScan records, in one that is
// (flagShadow) or is not (0) a shadow.
func searchTag(recs []byte, k *kind, tag uint32, shadow byte) int {
	for i, b := 0, recs; len(b) >= k.stride && i < tagScan; i, b = i+1, b[k.stride:] {
		if k.tag(b) == tag && k.flags(b)&flagShadow == shadow {
			return i
		}
	}
	return -1
}

// tagScan bounds how many peers are looked at for one that is there in another way, too.
// In swarms that are larger it may count twice.
const tagScan = 4096

// list holds the classic peers of one address family of a large swarm, in no order.
type list struct {
	recs  []byte
	index *index // nil while the list is short
}

func (l *list) len(k *kind) int { return len(l.recs) / k.stride }

func (l *list) at(k *kind, i int) []byte { return l.recs[i*k.stride : (i+1)*k.stride : (i+1)*k.stride] }

// find returns a peer's place, or -1 and how many others are of its host.
func (l *list) find(k *kind, addr []byte) (place, sameHost int) {
	if l.index != nil {
		return l.index.find(l, k, addr), l.index.sameHost(k.host(addr))
	}
	return search(l.recs, k, addr)
}

// add appends a record.
func (l *list) add(k *kind, rec []byte) {
	if n := len(l.recs); cap(l.recs) < n+k.stride {
		grown := make([]byte, n, n+max(n/4/k.stride, 8)*k.stride)
		copy(grown, l.recs)
		l.recs = grown
	}
	l.recs = append(l.recs, rec[:k.stride]...)
	switch count := l.len(k); {
	case l.index != nil && !l.index.full(count):
		l.index.insert(l, k, count-1)
	case count > indexFrom:
		l.index = newIndex(l, k)
	}
}

// remove takes a peer out; the last one takes its place.
func (l *list) remove(k *kind, i int) {
	last := l.len(k) - 1
	if l.index != nil {
		l.index.remove(l, k, i)
		if i != last {
			l.index.moved(l, k, last, i)
		}
	}
	copy(l.at(k, i), l.at(k, last))
	l.recs = l.recs[:last*k.stride]
	if last < indexFrom/2 {
		l.index = nil
	}
	if len(l.recs) <= cap(l.recs)/3 {
		l.recs = append(make([]byte, 0, len(l.recs)+8*k.stride), l.recs...)
	}
}
