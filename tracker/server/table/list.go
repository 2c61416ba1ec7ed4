package table

import (
	"encoding/binary"
	"net/netip"
)

// kind says how the peers of one address family lie in a list: address and port,
// then peer id, then when the peer was last seen, then flags.
type kind struct {
	family  int // place in Table.classic
	addrLen int // address and port
	hostLen int // of it, what counts as one host
	stride  int // a record
}

const (
	idLen      = 20
	recordTail = idLen + 2 + 1
)

var (
	kind4 = &kind{0, 6, 4, 6 + recordTail}
	kind6 = &kind{1, 18, 8, 18 + recordTail}
)

// Flags of a record.
const (
	flagSeed    = 1 << iota
	flagPartial // a partial seed
	flagShadow  // the peer has another entry, which counts
)

// list holds the classic peers of one address family of a swarm, in no order.
type list struct {
	recs  []byte
	index *index // nil while the list is short
}

func (l *list) len(k *kind) int { return len(l.recs) / k.stride }

func (l *list) at(k *kind, i int) []byte { return l.recs[i*k.stride : (i+1)*k.stride : (i+1)*k.stride] }

func (k *kind) id(rec []byte) []byte { return rec[k.addrLen : k.addrLen+idLen] }

func (k *kind) seen(rec []byte) uint16 { return binary.LittleEndian.Uint16(rec[k.addrLen+idLen:]) }

func (k *kind) setSeen(rec []byte, now uint16) {
	binary.LittleEndian.PutUint16(rec[k.addrLen+idLen:], now)
}

func (k *kind) flags(rec []byte) *byte { return &rec[k.stride-1] }

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

// find returns a peer's place, or -1 and how many others are of its host.
func (l *list) find(k *kind, addr []byte) (place, sameHost int) {
	if l.index != nil {
		return l.index.find(l, k, addr), l.index.sameHost(k.host(addr))
	}
	if k == kind4 {
		return l.find4(addr)
	}
	host := k.host(addr)
	for i, b := 0, l.recs; len(b) >= k.stride; i, b = i+1, b[k.stride:] {
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

// find4 is find for IPv4, in a short list: it compares address and port in one step.
func (l *list) find4(addr []byte) (place, sameHost int) {
	const stride = 6 + recordTail
	want := uint64(binary.LittleEndian.Uint32(addr)) | uint64(binary.LittleEndian.Uint16(addr[4:]))<<32
	for b := l.recs; len(b) >= stride; b = b[stride:] {
		differ := binary.LittleEndian.Uint64(b) ^ want
		if differ<<16 == 0 {
			return (len(l.recs) - len(b)) / stride, 0
		}
		if uint32(differ) == 0 {
			sameHost++
		}
	}
	return -1, sameHost
}

// findID looks for a peer id among the first idScan peers.
func (l *list) findID(k *kind, id *ID, wantFlags byte) int {
	first := binary.LittleEndian.Uint64(id[12:]) // the random part
	for i, b := 0, l.recs; len(b) >= k.stride && i < idScan; i, b = i+1, b[k.stride:] {
		if binary.LittleEndian.Uint64(b[k.addrLen+12:]) == first &&
			string(b[k.addrLen:k.addrLen+idLen]) == string(id[:]) && *k.flags(b)&flagShadow == wantFlags {
			return i
		}
	}
	return -1
}

// idScan bounds how many peers are looked at for one that is there in another way, too.
// In swarms that are larger it may count twice.
const idScan = 4096

// add appends a peer and returns its record, all of whose flags are off.
func (l *list) add(k *kind, addr []byte, id *ID, now uint16) []byte {
	n := len(l.recs)
	if cap(l.recs) < n+k.stride {
		grown := make([]byte, n, grow(n/k.stride)*k.stride)
		copy(grown, l.recs)
		l.recs = grown
	}
	l.recs = l.recs[:n+k.stride]
	rec := l.recs[n:]
	copy(rec, addr)
	copy(rec[k.addrLen:], id[:])
	k.setSeen(rec, now)
	*k.flags(rec) = 0
	switch count := n/k.stride + 1; {
	case l.index != nil && count*2 <= len(l.index.slots):
		l.index.insert(l, k, count-1)
	case count > indexFrom:
		l.index = newIndex(l, k)
	}
	return rec
}

// grow says for how many peers there is to be room after n: few at first, since most
// swarms are small, then a quarter more.
func grow(n int) int {
	if n < 8 {
		return n + 2
	}
	return n + max(3, n/4)
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
	switch {
	case last == 0:
		*l = list{}
	case last < indexFrom/2 && l.index != nil:
		l.index = nil
	}
	if len(l.recs) <= cap(l.recs)/3 && last > 4 {
		l.recs = append(make([]byte, 0, grow(last)*k.stride), l.recs...)
	}
}
