package hostile

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"

	"github.com/causeway-bt/causeway/bench/fixture"
)

// Metadata is what a peer says of a torrent's info dictionary to those who have only
// a magnet link (BEP 9).
type Metadata struct {
	Size  int64  // as claimed; may be anything
	Bytes []byte // what is sent, as far as it goes
}

// ListenMetadata starts a peer as Listen does, which also offers metadata.
func ListenMetadata(t *fixture.Torrent, s Script, m Metadata) (*Peer, error) {
	return listen(t, s, &m)
}

const (
	metadataPart = 16 << 10 // BEP 9
	ourExtension = 3        // the number that we ask for under ut_metadata
)

// handshake is the extension handshake, as a whole message.
func (m *Metadata) handshake() []byte {
	return extended(0, fmt.Appendf(nil, "d1:md11:ut_metadatai%dee13:metadata_sizei%dee", ourExtension, m.Size))
}

// extensions is what we know of the other side.
type extensions struct{ metadata byte } // its number for ut_metadata; 0: none

// The two messages that matter are picked apart with patterns: to be strict is not
// this peer's part.
var (
	theirNumber = regexp.MustCompile(`11:ut_metadatai(\d+)e`)
	wantedPart  = regexp.MustCompile(`^d8:msg_typei0e5:piecei(\d+)e`)
)

// answer returns the reply to an extended message, nil for none.
func (x *extensions) answer(m *Metadata, message []byte) []byte {
	if len(message) == 0 {
		return nil
	}
	number, payload := message[0], message[1:]
	if number == 0 {
		if f := theirNumber.FindSubmatch(payload); f != nil {
			n, _ := strconv.ParseUint(string(f[1]), 10, 8) // 0, for none, if it is no byte
			x.metadata = byte(n)
		}
		return nil
	}
	f := wantedPart.FindSubmatch(payload)
	if number != ourExtension || f == nil || x.metadata == 0 {
		return nil
	}
	part, err := strconv.Atoi(string(f[1]))
	if err != nil || part*metadataPart >= len(m.Bytes) {
		return nil
	}
	data := m.Bytes[part*metadataPart : min(len(m.Bytes), (part+1)*metadataPart)]
	head := fmt.Appendf(nil, "d8:msg_typei1e5:piecei%de10:total_sizei%dee", part, m.Size)
	return extended(x.metadata, append(head, data...))
}

func extended(number byte, payload []byte) []byte {
	msg := binary.BigEndian.AppendUint32(nil, uint32(2+len(payload)))
	return append(append(msg, msgExtended, number), payload...)
}
