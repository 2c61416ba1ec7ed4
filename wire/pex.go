package wire

import (
	"encoding/binary"
	"net/netip"

	"github.com/anacrolix/torrent/bencode"
)

// PEXFlags say what is known of a peer in a peer exchange (BEP 11).
type PEXFlags byte

const (
	PEXEncryption PEXFlags = 0x01 // prefers encryption
	PEXSeed       PEXFlags = 0x02 // has everything, or uploads only
	PEXuTP        PEXFlags = 0x04
	PEXHolepunch  PEXFlags = 0x08
	PEXOutgoing   PEXFlags = 0x10 // the sender reached it by dialling
)

// PEXPeer is a peer that was added.
type PEXPeer struct {
	Addr  netip.AddrPort
	Flags PEXFlags
}

// MaxPEX is how many peers one message may add, and how many it may drop, over
// both address families (BEP 11 says 50 of each kind).
const MaxPEX = 100

// PEXMessage is a ut_pex message.
type PEXMessage struct {
	Added   []PEXPeer
	Dropped []netip.AddrPort
}

// Encode returns the payload of a ut_pex message.
func (m *PEXMessage) Encode() []byte {
	var added, added6, flags, flags6, dropped, dropped6 []byte
	for _, p := range m.Added {
		if p.Addr.Addr().Unmap().Is4() {
			added, flags = appendCompact(added, p.Addr), append(flags, byte(p.Flags))
		} else {
			added6, flags6 = appendCompact(added6, p.Addr), append(flags6, byte(p.Flags))
		}
	}
	for _, a := range m.Dropped {
		if a.Addr().Unmap().Is4() {
			dropped = appendCompact(dropped, a)
		} else {
			dropped6 = appendCompact(dropped6, a)
		}
	}
	return bencode.MustMarshal(map[string]any{
		"added": string(added), "added.f": string(flags), "dropped": string(dropped),
		"added6": string(added6), "added6.f": string(flags6), "dropped6": string(dropped6),
	})
}

// DecodePEX reads a ut_pex message, or as much of it as can be read. At most MaxPEX
// peers of each kind are kept.
func DecodePEX(b []byte) (m PEXMessage) {
	var added, flags, dropped [2][]byte // IPv4, IPv6
	fields := map[string]*[]byte{
		"added": &added[0], "added.f": &flags[0], "dropped": &dropped[0],
		"added6": &added[1], "added6.f": &flags[1], "dropped6": &dropped[1],
	}
	eachEntry(b, func(key, value []byte) {
		if field := fields[string(key)]; field != nil && *field == nil {
			*field, _ = stringOf(value)
		}
	})
	for family, size := range []int{4, 16} {
		for i, a := range parseCompact(added[family], size, MaxPEX-len(m.Added)) {
			p := PEXPeer{Addr: a}
			if i < len(flags[family]) {
				p.Flags = PEXFlags(flags[family][i])
			}
			m.Added = append(m.Added, p)
		}
		m.Dropped = append(m.Dropped, parseCompact(dropped[family], size, MaxPEX-len(m.Dropped))...)
	}
	return m
}

// appendCompact appends a in the compact form of BEP 23 and BEP 7.
func appendCompact(b []byte, a netip.AddrPort) []byte {
	b = append(b, a.Addr().Unmap().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}

// parseCompact reads at most limit addresses of the given size in bytes, port
// apart.
func parseCompact(s []byte, size, limit int) (addrs []netip.AddrPort) {
	for len(s) >= size+2 && len(addrs) < limit {
		ip, _ := netip.AddrFromSlice(s[:size])
		port := binary.BigEndian.Uint16(s[size:])
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), port))
		s = s[size+2:]
	}
	return addrs
}
