package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/anacrolix/torrent/bencode"
)

// Names of the extensions that this package can read and write (BEP 10 `m`).
const (
	ExtMetadata = "ut_metadata" // BEP 9
	ExtPEX      = "ut_pex"      // BEP 11
	ExtDontHave = "lt_donthave" // BEP 54
)

// The numbers by which peers call these extensions when they write to us.
const (
	OurMetadata byte = 1
	OurPEX      byte = 2
	OurDontHave byte = 3
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

// DecodeExtHandshake reads the payload of extended message 0. Fields of the wrong
// type or out of range are left at their zero value: peers vary, and one odd
// field is no reason to lose a connection.
func DecodeExtHandshake(b []byte) (h ExtHandshake, err error) {
	d, _, err := decodeDict(b)
	if err != nil {
		return h, fmt.Errorf("extension handshake: %w", err)
	}
	h.M = map[string]byte{}
	if m, ok := d["m"].(map[string]any); ok {
		for _, name := range []string{ExtMetadata, ExtPEX, ExtDontHave} {
			if n, ok := m[name].(int64); ok && n >= 0 && n <= 255 {
				h.M[name] = byte(n)
			}
		}
	}
	v, _ := d["v"].(string)
	h.Version = printable(v[:min(len(v), maxVersion)])
	if p, ok := d["p"].(int64); ok && p > 0 && p < 1<<16 {
		h.Port = int(p)
	}
	if q, ok := d["reqq"].(int64); ok && q > 0 {
		h.Reqq = int(min(q, 1<<20))
	}
	if ip, ok := d["yourip"].(string); ok {
		h.YourIP, _ = netip.AddrFromSlice([]byte(ip))
		h.YourIP = h.YourIP.Unmap()
	}
	if u, ok := d["upload_only"].(int64); ok {
		h.UploadOnly = u != 0
	}
	if s, ok := d["metadata_size"].(int64); ok && s > 0 {
		h.MetadataSize = s
	}
	return h, nil
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
// not checked against any torrent: Piece may be out of range, but not negative.
func DecodeMetadataMessage(b []byte) (m MetadataMessage, err error) {
	d, rest, err := decodeDict(b)
	if err != nil {
		return m, fmt.Errorf("ut_metadata: %w", err)
	}
	t, ok1 := d["msg_type"].(int64)
	p, ok2 := d["piece"].(int64)
	if !ok1 || !ok2 || p < 0 || p > 1<<24 || t < 0 || t > 255 {
		return m, errors.New("ut_metadata: msg_type or piece missing or out of range")
	}
	m.Type, m.Piece = MetadataType(t), int(p)
	if m.Type == MetadataData {
		m.TotalSize, _ = d["total_size"].(int64)
		m.Data = rest
	}
	return m, nil
}

// EncodeDontHave is the payload of lt_donthave (BEP 54).
func EncodeDontHave(piece uint32) []byte {
	return []byte{byte(piece >> 24), byte(piece >> 16), byte(piece >> 8), byte(piece)}
}

// DecodeDontHave reads the payload of lt_donthave.
func DecodeDontHave(b []byte) (piece uint32, err error) {
	if len(b) != 4 {
		return 0, fmt.Errorf("lt_donthave of %d bytes", len(b))
	}
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]), nil
}

// decodeDict decodes the bencoded dictionary at the start of b, and returns what
// follows it.
func decodeDict(b []byte) (d map[string]any, rest []byte, err error) {
	n, err := valueEnd(b)
	if err != nil {
		return nil, nil, err
	}
	if err := bencode.Unmarshal(b[:n], &d); err != nil {
		return nil, nil, err
	}
	return d, b[n:], nil
}

// maxDepth bounds how deep bencoded values from peers may nest. Real ones nest
// twice; the decoder is recursive.
const maxDepth = 16

var errBencode = errors.New("malformed bencoding")

// valueEnd returns the length of the bencoded value at the start of b, checking
// lengths and nesting without recursion before the decoder sees it.
func valueEnd(b []byte) (int, error) {
	depth := 0
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == 'd' || c == 'l':
			if depth++; depth > maxDepth {
				return 0, errBencode
			}
			i++
		case c == 'e':
			depth--
			i++
		case c == 'i':
			end := i + 1
			for end < len(b) && b[end] != 'e' {
				end++
			}
			if end-i > 22 || end == len(b) {
				return 0, errBencode
			}
			i = end + 1
		case c >= '0' && c <= '9':
			n := 0
			for i < len(b) && b[i] >= '0' && b[i] <= '9' {
				if n = n*10 + int(b[i]-'0'); n > len(b) {
					return 0, errBencode
				}
				i++
			}
			if i == len(b) || b[i] != ':' || n > len(b)-i-1 {
				return 0, errBencode
			}
			i += 1 + n
		default:
			return 0, errBencode
		}
		if depth < 0 {
			return 0, errBencode
		}
		if depth == 0 {
			return i, nil
		}
	}
	return 0, errBencode
}
