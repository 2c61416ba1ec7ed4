package wire

import (
	"crypto/sha1"
	"encoding/binary"
	"net/netip"
)

// AllowedFastSet returns the k pieces that a peer at addr may ask for while
// choked, by the canonical algorithm of BEP 6. It is defined for IPv4; others get
// none.
func AllowedFastSet(addr netip.Addr, infoHash [20]byte, numPieces, k int) []uint32 {
	addr = addr.Unmap()
	if !addr.Is4() || numPieces <= 0 {
		return nil
	}
	ip := addr.As4()
	ip[3] = 0 // the whole /24 shares a set
	x := append(ip[:], infoHash[:]...)
	k = min(k, numPieces)
	seen := make(map[uint32]bool, k)
	set := make([]uint32, 0, k)
	for len(set) < k {
		sum := sha1.Sum(x)
		x = sum[:]
		for i := 0; i+4 <= len(x) && len(set) < k; i += 4 {
			piece := binary.BigEndian.Uint32(x[i:]) % uint32(numPieces)
			if !seen[piece] {
				seen[piece] = true
				set = append(set, piece)
			}
		}
	}
	return set
}
