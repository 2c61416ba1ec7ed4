package hostile

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Kind is a way of doing harm.
type Kind struct {
	Name string
	mute bool // it says nothing, not even a handshake
	deaf bool // it reads nothing
	act  func(h *harm) error
}

// More message types of BEP 3 and BEP 6.
const (
	msgChoke         = 0
	msgNotInterested = 3
	msgHave          = 4
)

// bitfield is that of a peer that has everything.
func (h *harm) bitfield() []byte {
	pieces := h.torrent.Pieces()
	field := make([]byte, (pieces+7)/8)
	for i := range pieces {
		field[i/8] |= 0x80 >> (i % 8)
	}
	return message(msgBitfield, field...)
}

// longest is the longest bitfield that is not refused by its length alone, in bytes.
const longest = 1 << 20

var longBitfield = message(msgBitfield, make([]byte, longest)...)

// Mute connects, and says nothing.
func Mute() Kind { return Kind{Name: "mute", mute: true} }

// Idle exchanges handshakes, and says nothing more.
func Idle() Kind { return Kind{Name: "idle", act: (*harm).stay} }

// Hoarder says that it has everything, wants everything, and never unchokes.
func Hoarder() Kind {
	return Kind{Name: "never unchokes", act: func(h *harm) error {
		if _, err := h.Write(append(h.bitfield(), message(msgInterested)...)); err != nil {
			return err
		}
		return h.stay()
	}}
}

// LongBitfield sends a bitfield of 1 MiB, and says nothing more.
func LongBitfield() Kind {
	return Kind{Name: "a bitfield of 1 MiB", act: func(h *harm) error {
		if _, err := h.Write(longBitfield); err != nil {
			return err
		}
		return h.stay()
	}}
}

// HalfBitfield sends all but the last byte of a bitfield of 1 MiB.
func HalfBitfield() Kind {
	return Kind{Name: "most of a bitfield of 1 MiB", act: func(h *harm) error {
		if _, err := h.Write(longBitfield[:len(longBitfield)-1]); err != nil {
			return err
		}
		return h.stay()
	}}
}

// HangsUp ends the connection after the handshake.
func HangsUp() Kind {
	return Kind{Name: "hangs up", act: func(h *harm) error { return h.pause(50 * time.Millisecond) }}
}

// Deaf asks for everything, and reads nothing.
func Deaf() Kind {
	return Kind{Name: "reads nothing", deaf: true, act: func(h *harm) error {
		if _, err := h.Write(message(msgInterested)); err != nil {
			return err
		}
		for i := 0; ; i = (i + 1) % h.torrent.Pieces() {
			if _, err := h.Write(request(uint32(i), 0, 16<<10)); err != nil {
				return err
			}
		}
	}}
}

func request(piece, begin, length uint32) []byte {
	var b []byte
	for _, n := range []uint32{piece, begin, length} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return message(msgRequest, b...)
}

// FloodRequests sends requests without end, faster than anybody serves them.
func FloodRequests() Kind {
	return Kind{Name: "floods with requests", act: func(h *harm) error {
		return h.flood(append(message(msgInterested), request(0, 0, 16<<10)...))
	}}
}

// FloodChokes chokes and unchokes, without end.
func FloodChokes() Kind {
	return Kind{Name: "floods with chokes", act: func(h *harm) error {
		if _, err := h.Write(h.bitfield()); err != nil {
			return err
		}
		return h.flood(append(message(msgUnchoke), message(msgChoke)...))
	}}
}

// FloodInterest becomes interested and not interested, without end.
func FloodInterest() Kind {
	return Kind{Name: "floods with interest", act: func(h *harm) error {
		return h.flood(append(message(msgInterested), message(msgNotInterested)...))
	}}
}

// FloodHaves says that it has a piece, without end.
func FloodHaves() Kind {
	return Kind{Name: "floods with haves", act: func(h *harm) error {
		return h.flood(message(msgHave, 0, 0, 0, 0))
	}}
}

// FloodBitfields sends bitfields without end.
func FloodBitfields() Kind {
	return Kind{Name: "floods with bitfields", act: func(h *harm) error { return h.flood(h.bitfield()) }}
}

// FloodBlocks sends blocks that nobody asked for.
func FloodBlocks() Kind {
	return Kind{Name: "floods with blocks", act: func(h *harm) error {
		return h.flood(message(msgPiece, make([]byte, 8+16<<10)...))
	}}
}

// FloodHandshakes sends extension handshakes with 1200 extensions, without end.
func FloodHandshakes() Kind {
	var m strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&m, "6:x%05di%de", i, 1+i%255)
	}
	all := extended(0, fmt.Appendf(nil, "d1:md%see", m.String()))
	return Kind{Name: "floods with extension handshakes", act: func(h *harm) error { return h.flood(all) }}
}

// FloodMetadataRequests asks for the first piece of the metadata without end.
func FloodMetadataRequests() Kind {
	return Kind{Name: "floods with metadata requests", act: func(h *harm) error {
		if _, err := h.Write(extended(0, fmt.Appendf(nil, "d1:md11:ut_metadatai%dee13:metadata_sizei1000ee", ourExtension))); err != nil {
			return err
		}
		return h.flood(extended(theirMetadata, []byte("d8:msg_typei0e5:piecei0ee")))
	}}
}

// The numbers that extensions have in Causeway's handshake. To read it is not this
// peer's part; TestNumbersOfExtensions looks whether they are still these.
const (
	theirMetadata = 1
	theirPEX      = 2
)

// FloodPEX sends peer exchanges of 50 addresses each, that nobody listens at, without
// end.
func FloodPEX() Kind {
	return Kind{Name: "floods with peer exchanges", act: func(h *harm) error {
		if _, err := h.Write(extended(0, []byte("d1:md6:ut_pexi1eee"))); err != nil {
			return err
		}
		for n := 0; ; n++ {
			var added []byte
			for i := range 50 {
				added = append(added, 127, byte(100+n%100), byte(n/100), byte(1+i), 0, 9)
			}
			if _, err := h.Write(extended(theirPEX, fmt.Appendf(nil, "d5:added300:%se", added))); err != nil {
				return err
			}
		}
	}}
}

// TellsOf names peers, HOST:PORT of IPv4 each, by peer exchange, and says nothing more.
func TellsOf(peers ...string) Kind {
	var added []byte
	for _, p := range peers {
		a := netip.MustParseAddrPort(p)
		added = append(added, a.Addr().AsSlice()...)
		added = binary.BigEndian.AppendUint16(added, a.Port())
	}
	return Kind{Name: "tells of others", act: func(h *harm) error {
		all := extended(0, []byte("d1:md6:ut_pexi1eee"))
		all = append(all, extended(theirPEX, fmt.Appendf(nil, "d5:added%d:%se", len(added), added))...)
		if _, err := h.Write(all); err != nil {
			return err
		}
		return h.stay()
	}}
}

// DripMetadata says that the metadata has so many bytes, and sends one piece of it in
// that much time; 0: none at all.
func DripMetadata(size int64, every time.Duration) Kind {
	return Kind{Name: fmt.Sprintf("drips metadata of %d bytes", size), act: func(h *harm) error {
		if _, err := h.Write(extended(0, fmt.Appendf(nil, "d1:md11:ut_metadatai%dee13:metadata_sizei%dee", ourExtension, size))); err != nil {
			return err
		}
		if every == 0 {
			return h.stay()
		}
		for part := 0; ; part++ {
			if err := h.pause(every); err != nil {
				return err
			}
			n := min(size-int64(part)*metadataPart, metadataPart)
			if n <= 0 {
				return h.stay()
			}
			head := fmt.Appendf(nil, "d8:msg_typei1e5:piecei%de10:total_sizei%dee", part, size)
			if _, err := h.Write(extended(theirMetadata, append(head, make([]byte, n)...))); err != nil {
				return err
			}
		}
	}}
}

// Returns is a kind that ends each connection after a while, to come again as the newest.
func Returns(k Kind, after time.Duration) Kind {
	act := k.act
	k.Name += ", and comes again"
	k.act = func(h *harm) error {
		defer time.AfterFunc(after, func() { h.Close() }).Stop()
		ctx, cancel := context.WithTimeout(h.ctx, after)
		defer cancel()
		h.ctx = ctx
		return act(h)
	}
	return k
}

// AllKinds returns one of every kind.
func AllKinds() []Kind {
	return []Kind{
		Mute(), Idle(), Hoarder(), LongBitfield(), HalfBitfield(), HangsUp(), Deaf(),
		FloodRequests(), FloodChokes(), FloodInterest(), FloodHaves(), FloodBitfields(), FloodBlocks(),
		FloodHandshakes(), FloodMetadataRequests(), FloodPEX(),
		DripMetadata(64<<20, time.Second), DripMetadata(1000, 0), DripMetadata(20<<20, time.Millisecond),
	}
}
