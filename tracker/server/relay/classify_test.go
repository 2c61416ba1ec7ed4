package relay

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/pion/stun/v4"

	"github.com/causeway-bt/causeway/tracker/server"
)

// connect is a BEP 15 connect request.
func connect() []byte { return binary.BigEndian.AppendUint64(nil, 0x41727101980) }

func channelData(first byte, payload []byte, padding int) []byte {
	b := []byte{first, 1, byte(len(payload) >> 8), byte(len(payload))}
	return append(append(b, payload...), make([]byte, padding)...)
}

// later is an announce or a scrape with a connection id of ours.
func later(action byte, n int) []byte {
	b := make([]byte, n)
	b[0], b[11] = server.ConnectionIDByte, action
	return b
}

func TestWhoseAPacketIs(t *testing.T) {
	const tracker, relay, nobody = "the tracker's", "the relay's", "nobody's"
	binding := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	send := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), stun.NewSoftware("x")).Raw
	dtls := append([]byte{23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 100}, make([]byte, 100)...)
	for _, test := range []struct {
		what string
		b    []byte
		want string
	}{
		{"nothing", nil, nobody},
		{"a connect", append(connect(), make([]byte, 8)...), tracker},
		{"a connect cut short", append(connect(), make([]byte, 7)...), nobody},
		{"an announce", later(1, 98), tracker},
		{"a scrape", later(2, 36), tracker},
		{"a binding request", binding, relay},
		{"a send indication", send, relay},
		{"a binding request with more behind", append(bytes.Clone(binding), 0), nobody},
		{"a binding request cut short", binding[:19], nobody},
		{"STUN without the cookie", append(bytes.Clone(binding[:4]), make([]byte, 16)...), nobody},
		{"channel data", channelData(0x40, []byte("hello"), 0), relay},
		{"channel data, padded", channelData(0x4f, []byte("hello"), 3), relay},
		{"channel data, too long", channelData(0x40, []byte("hello"), 4), nobody},
		{"channel data, too short", channelData(0x40, []byte("hello"), 0)[:8], nobody},
		{"channel data without data", channelData(0x40, nil, 0), relay},
		{"channel data of a channel of RFC 5766", channelData(0x7f, []byte("hello"), 0), relay},
		{"channel data of no channel", channelData(0x80, []byte("hello"), 0), nobody},
		{"channel data with DTLS", channelData(0x40, dtls, 0), relay},
		{"channel data with STUN", channelData(0x40, binding, 0), relay},
		{"DTLS", dtls, nobody},
		{"uTP data", append([]byte{0x01, 0}, make([]byte, 18)...), nobody},
		{"uTP", append([]byte{0x41, 0}, make([]byte, 18)...), nobody},
		{"a message of the DHT", []byte("d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:t2:aa1:y1:qe"), nobody},
	} {
		got := nobody
		switch {
		case server.IsPacket(test.b):
			got = tracker
		case IsPacket(test.b):
			got = relay
		}
		if got != test.want {
			t.Errorf("%s is %s, want %s", test.what, got, test.want)
		}
	}
}

// FuzzIsPacket checks that no packet is both's, and that pion can read what it is handed.
func FuzzIsPacket(f *testing.F) {
	f.Add(append(connect(), make([]byte, 8)...))
	f.Add(later(1, 98))
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw)
	f.Add(channelData(0x41, []byte("hello"), 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		if !IsPacket(b) {
			return
		}
		if server.IsPacket(b) {
			t.Error("the tracker's, too")
		}
		if b[0] <= stunMost && !stun.IsMessage(b) {
			t.Error("pion says that it is not STUN")
		}
		if n := int(binary.BigEndian.Uint16(b[2:])); b[0] > stunMost && n > len(b)-channelHeaderLen {
			t.Errorf("channel data of %d bytes in %d", n, len(b))
		}
	})
}
