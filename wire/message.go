package wire

import (
	"encoding/binary"
	"fmt"
)

// BlockSize is the length of a block in bytes: what one request asks for. Every
// client in use drops connections that ask for much more (BEP 3).
const BlockSize = 16 << 10

// ID is the type byte of a message.
type ID byte

// Message types of BEP 3, BEP 5 (Port), BEP 6 (Suggest to AllowedFast) and BEP 10.
const (
	Choke         ID = 0
	Unchoke       ID = 1
	Interested    ID = 2
	NotInterested ID = 3
	Have          ID = 4
	BitfieldID    ID = 5
	Request       ID = 6
	Piece         ID = 7
	Cancel        ID = 8
	Port          ID = 9
	Suggest       ID = 13
	HaveAll       ID = 14
	HaveNone      ID = 15
	Reject        ID = 16
	AllowedFast   ID = 17
	Extended      ID = 20

	// KeepAlive is the message of length zero; it has no type byte on the wire.
	KeepAlive ID = 255
)

var idNames = map[ID]string{
	Choke: "choke", Unchoke: "unchoke", Interested: "interested", NotInterested: "not interested",
	Have: "have", BitfieldID: "bitfield", Request: "request", Piece: "piece", Cancel: "cancel",
	Port: "port", Suggest: "suggest", HaveAll: "have all", HaveNone: "have none",
	Reject: "reject", AllowedFast: "allowed fast", Extended: "extended", KeepAlive: "keep-alive",
}

func (id ID) String() string {
	if s, ok := idNames[id]; ok {
		return s
	}
	return fmt.Sprintf("message %d", byte(id))
}

// Message is one message. Which fields mean something depends on ID.
type Message struct {
	ID ID
	// Index is a piece: Have, Request, Piece, Cancel, Suggest, Reject, AllowedFast.
	Index uint32
	// Begin and Length are the block's place in the piece, in bytes: Request,
	// Piece, Cancel, Reject. For Piece, Length is how many bytes follow.
	Begin, Length uint32
	// Port is the UDP port of the peer's DHT node.
	Port uint16
	// Ext is the number of an extended message, 0 for the extension handshake.
	Ext byte
	// Payload is the bitfield, or the body of an extended message.
	Payload []byte
}

// AppendTo appends m as it goes over the wire, length prefix included. A Piece
// message is appended without its block, which the caller sends after it.
func (m *Message) AppendTo(b []byte) []byte {
	be := binary.BigEndian
	switch m.ID {
	case KeepAlive:
		return be.AppendUint32(b, 0)
	case Have, Suggest, AllowedFast:
		b = append(be.AppendUint32(b, 5), byte(m.ID))
		return be.AppendUint32(b, m.Index)
	case Request, Cancel, Reject:
		b = append(be.AppendUint32(b, 13), byte(m.ID))
		b = be.AppendUint32(b, m.Index)
		b = be.AppendUint32(b, m.Begin)
		return be.AppendUint32(b, m.Length)
	case Piece:
		b = append(be.AppendUint32(b, 9+m.Length), byte(m.ID))
		b = be.AppendUint32(b, m.Index)
		return be.AppendUint32(b, m.Begin)
	case Port:
		b = append(be.AppendUint32(b, 3), byte(m.ID))
		return be.AppendUint16(b, m.Port)
	case BitfieldID:
		b = append(be.AppendUint32(b, uint32(1+len(m.Payload))), byte(m.ID))
		return append(b, m.Payload...)
	case Extended:
		b = append(be.AppendUint32(b, uint32(2+len(m.Payload))), byte(m.ID), m.Ext)
		return append(b, m.Payload...)
	default: // Choke, Unchoke, Interested, NotInterested, HaveAll, HaveNone
		return append(be.AppendUint32(b, 1), byte(m.ID))
	}
}
