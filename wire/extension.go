package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/anacrolix/torrent/bencode"
)

// Names of the extensions that this package can read and write (BEP 10 `m`).
const (
	ExtMetadata  = "ut_metadata"  // BEP 9
	ExtPEX       = "ut_pex"       // BEP 11
	ExtDontHave  = "lt_donthave"  // BEP 54
	ExtHolepunch = "ut_holepunch" // BEP 55
)

// The numbers by which peers call these extensions when they write to us.
const (
	OurMetadata  byte = 1
	OurPEX       byte = 2
	OurDontHave  byte = 3
	OurHolepunch byte = 4
)

// ExtHandshake is the extension handshake (BEP 10). A peer may send it again, and
// later ones add to the earlier.
type ExtHandshake struct {
	// M has the number to use for each extension, 0: switched off. Of a decoded
	// handshake it has those that this package knows, and is not nil.
	M            map[string]byte
	Version      string     // `v`: name and version of the client
	Port         int        // `p`: TCP port it listens on, 0 unknown
	Reqq         int        // requests it queues before dropping some, 0 unknown
	YourIP       netip.Addr // how it sees the receiver
	UploadOnly   bool       // BEP 21: it downloads nothing more
	MetadataSize int64      // BEP 9: bytes of the info dictionary, 0 unknown
}

// maxVersion is how much of the other client's name is kept, in bytes.
const maxVersion = 128

// Encode returns the payload of extended message 0.
func (h *ExtHandshake) Encode() []byte {
	m := map[string]int{}
	for name, n := range h.M {
		m[name] = int(n)
	}
	d := map[string]any{"m": m}
	if h.Version != "" {
		d["v"] = h.Version
	}
	if h.Port != 0 {
		d["p"] = h.Port
	}
	if h.Reqq != 0 {
		d["reqq"] = h.Reqq
	}
	if h.YourIP.IsValid() {
		d["yourip"] = string(h.YourIP.Unmap().AsSlice())
	}
	if h.UploadOnly {
		d["upload_only"] = 1
	}
	if h.MetadataSize > 0 {
		d["metadata_size"] = h.MetadataSize
	}
	return bencode.MustMarshal(d)
}

// DecodeExtHandshake reads the payload of extended message 0, or as much of it as can be
// read. Fields of the wrong type or out of range are left at their zero value: peers
// vary, and an odd handshake is no reason to lose a connection.
func DecodeExtHandshake(b []byte) ExtHandshake {
	h := ExtHandshake{M: map[string]byte{}}
	var version, yourIP, uploadOnly bool // of double keys, the first that can be used counts
	eachEntry(b, func(key, value []byte) {
		switch string(key) {
		case "m":
			h.addExtensions(value)
		case "v":
			if v, ok := stringOf(value); ok && !version {
				version = true
				h.Version = printable(string(v[:min(len(v), maxVersion)]))
			}
		case "p":
			if p, ok := intOf(value, 1, math.MaxUint16); ok && h.Port == 0 {
				h.Port = int(p)
			}
		case "reqq":
			if q, ok := intOf(value, 1, math.MaxInt64); ok && h.Reqq == 0 {
				h.Reqq = int(min(q, maxReqq))
			}
		case "yourip":
			if ip, ok := stringOf(value); ok && !yourIP {
				h.YourIP, yourIP = netip.AddrFromSlice(ip)
				h.YourIP = h.YourIP.Unmap()
			}
		case "upload_only":
			if u, ok := intOf(value, math.MinInt64, math.MaxInt64); ok && !uploadOnly {
				h.UploadOnly, uploadOnly = u != 0, true
			}
		case "metadata_size":
			if s, ok := intOf(value, 1, math.MaxInt64); ok && h.MetadataSize == 0 {
				h.MetadataSize = s
			}
		}
	})
	return h
}

// maxReqq is what is believed of a peer's `reqq`.
const maxReqq = 1 << 20

// addExtensions reads the dictionary of extension numbers.
func (h *ExtHandshake) addExtensions(dict []byte) {
	eachEntry(dict, func(key, value []byte) {
		switch name := string(key); name {
		case ExtMetadata, ExtPEX, ExtDontHave, ExtHolepunch:
			if _, known := h.M[name]; known {
				return
			}
			if n, ok := intOf(value, 0, math.MaxUint8); ok {
				h.M[name] = byte(n)
			}
		}
	})
}

// printable returns s without what a terminal or a log could take for orders.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.Clone(s))
}

// MetadataType is the msg_type of a ut_metadata message (BEP 9).
type MetadataType int

const (
	MetadataRequest MetadataType = 0
	MetadataData    MetadataType = 1
	MetadataReject  MetadataType = 2
)

// MetadataPieceSize is the length in bytes of all metadata pieces but the last.
const MetadataPieceSize = 16 << 10

// MetadataMessage is a ut_metadata message.
type MetadataMessage struct {
	Type      MetadataType
	Piece     int
	TotalSize int64  // MetadataData only
	Data      []byte // MetadataData only
}

// Encode writes exactly the standard keys: webtorrent.js finds the end of the
// dictionary with the first "ee", so nothing may nest or follow.
func (m *MetadataMessage) Encode() []byte {
	if m.Type == MetadataData {
		head := fmt.Sprintf("d8:msg_typei%de5:piecei%de10:total_sizei%dee", m.Type, m.Piece, m.TotalSize)
		return append([]byte(head), m.Data...)
	}
	return fmt.Appendf(nil, "d8:msg_typei%de5:piecei%dee", m.Type, m.Piece)
}

// DecodeMetadataMessage reads a ut_metadata message. Data aliases b. Numbers are
// not checked against any torrent: Piece may be out of range, but not negative. ok is
// false for a message that says nothing, which is to be passed over.
func DecodeMetadataMessage(b []byte) (m MetadataMessage, ok bool) {
	m.Type, m.Piece = -1, -1
	rest, whole := eachEntry(b, func(key, value []byte) {
		switch string(key) {
		case "msg_type":
			if t, ok := intOf(value, 0, math.MaxUint8); ok && m.Type < 0 {
				m.Type = MetadataType(t)
			}
		case "piece":
			if p, ok := intOf(value, 0, maxMetadataPiece); ok && m.Piece < 0 {
				m.Piece = int(p)
			}
		case "total_size":
			if s, ok := intOf(value, 1, math.MaxInt64); ok && m.TotalSize == 0 {
				m.TotalSize = s
			}
		}
	})
	if m.Type < 0 || m.Piece < 0 || m.Type == MetadataData && !whole {
		return MetadataMessage{}, false
	}
	if m.Type == MetadataData {
		m.Data = rest
	} else {
		m.TotalSize = 0
	}
	return m, true
}

// maxMetadataPiece is more than any metadata has pieces.
const maxMetadataPiece = 1 << 24

// EncodeDontHave is the payload of lt_donthave (BEP 54).
func EncodeDontHave(piece uint32) []byte {
	return []byte{byte(piece >> 24), byte(piece >> 16), byte(piece >> 8), byte(piece)}
}

// DecodeDontHave reads the payload of lt_donthave. ok is false for one that is too short,
// which is to be passed over.
func DecodeDontHave(b []byte) (piece uint32, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}
