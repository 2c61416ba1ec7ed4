package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// golden holds the bytes of every message, written out by hand from the BEPs.
var golden = []struct {
	message Message
	bytes   string // hexadecimal, spaces for reading
}{
	{Message{ID: KeepAlive}, "00000000"},
	{Message{ID: Choke}, "00000001 00"},
	{Message{ID: Unchoke}, "00000001 01"},
	{Message{ID: Interested}, "00000001 02"},
	{Message{ID: NotInterested}, "00000001 03"},
	{Message{ID: Have, Index: 0x01020304}, "00000005 04 01020304"},
	{Message{ID: BitfieldID, Payload: []byte{0xa5, 0x80}}, "00000003 05 a580"},
	{Message{ID: Request, Index: 7, Begin: 0x4000, Length: 0x4000}, "0000000d 06 00000007 00004000 00004000"},
	{Message{ID: Piece, Index: 7, Begin: 0x4000, Length: 3}, "0000000c 07 00000007 00004000"},
	{Message{ID: Cancel, Index: 7, Begin: 0x4000, Length: 0x4000}, "0000000d 08 00000007 00004000 00004000"},
	{Message{ID: Port, Port: 6881}, "00000003 09 1ae1"},
	{Message{ID: Suggest, Index: 9}, "00000005 0d 00000009"},
	{Message{ID: HaveAll}, "00000001 0e"},
	{Message{ID: HaveNone}, "00000001 0f"},
	{Message{ID: Reject, Index: 1, Begin: 2, Length: 3}, "0000000d 10 00000001 00000002 00000003"},
	{Message{ID: AllowedFast, Index: 0xffffffff}, "00000005 11 ffffffff"},
	{Message{ID: Extended, Ext: 2, Payload: []byte("de")}, "00000004 14 02 6465"},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessagesHaveTheBytesOfTheBEPs(t *testing.T) {
	for _, g := range golden {
		t.Run(g.message.ID.String(), func(t *testing.T) {
			want := unhex(t, g.bytes)
			if got := g.message.AppendTo([]byte("x")); !bytes.Equal(got, append([]byte("x"), want...)) {
				t.Errorf("wrote %x, want %x", got[1:], want)
			}
			block := []byte("abc")
			r := NewReader(io.MultiReader(bytes.NewReader(want), bytes.NewReader(block[:min(3, g.message.pieceLength())])))
			var m Message
			if err := r.Next(&m); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(m, g.message) {
				t.Errorf("read %+v, want %+v", m, g.message)
			}
			if err := r.Next(&m); !errors.Is(err, io.EOF) {
				t.Errorf("behind the last message: %v, want io.EOF", err)
			}
		})
	}
}

func (m *Message) pieceLength() int {
	if m.ID == Piece {
		return int(m.Length)
	}
	return 0
}

func TestHandshakeBytes(t *testing.T) {
	h := Handshake{Reserved: OurReserved(true)}
	copy(h.InfoHash[:], "infohash-of-20-bytes")
	copy(h.PeerID[:], "-CW0100-123456789012")
	want := "\x13BitTorrent protocol\x00\x00\x00\x00\x00\x10\x00\x05infohash-of-20-bytes-CW0100-123456789012"
	var b bytes.Buffer
	if err := WriteHandshake(&b, h); err != nil {
		t.Fatal(err)
	}
	if b.String() != want {
		t.Errorf("wrote %q, want %q", b.String(), want)
	}
	b.WriteString("next")
	got, err := ReadHandshake(&b)
	if err != nil || got != h {
		t.Errorf("read %+v, %v, want %+v", got, err, h)
	}
	if b.String() != "next" {
		t.Errorf("%q is left, want all that follows the handshake", b.String())
	}
	if !got.Reserved.Extended() || !got.Reserved.Fast() || !got.Reserved.DHT() || OurReserved(false).DHT() {
		t.Error("the reserved bits do not say what was set")
	}
}

func TestHandshakeOfSomethingElse(t *testing.T) {
	_, err := ReadHandshake(strings.NewReader("GET / HTTP/1.1\r\n" + strings.Repeat(" ", HandshakeLen)))
	if !errors.Is(err, ErrNotBitTorrent) {
		t.Errorf("a browser at the door: %v, want ErrNotBitTorrent", err)
	}
	if _, err = ReadHandshake(strings.NewReader("\x13BitTorrent")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a handshake: %v, want io.ErrUnexpectedEOF", err)
	}
}

func TestBitfield(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, 64, 65, 100} {
		f := NewBitfield(n)
		f.Fill(n)
		if f.Count() != n || !f.Has(n-1) || f.Has(n) || f.Has(-1) {
			t.Errorf("%d pieces filled: %08b", n, []byte(f))
		}
		if got, err := ParseBitfield(f, n); err != nil || !bytes.Equal(got, f) {
			t.Errorf("%d pieces parsed: %v, %v", n, got, err)
		}
		f.Clear(n - 1)
		if f.Has(n-1) || f.Count() != n-1 {
			t.Errorf("%d pieces without the last: %08b", n, []byte(f))
		}
		if _, err := ParseBitfield(append(f, 0), n); err == nil {
			t.Errorf("a bitfield too long for %d pieces was accepted", n)
		}
		if _, err := ParseBitfield(f[:len(f)-1], n); err == nil {
			t.Errorf("a bitfield too short for %d pieces was accepted", n)
		}
		if n%8 != 0 {
			f[len(f)-1] |= 1
			if _, err := ParseBitfield(f, n); err == nil {
				t.Errorf("a bitfield of %d pieces with a spare bit set was accepted", n)
			}
		}
	}
}

func TestBitfieldFrom(t *testing.T) {
	f := NewBitfield(203)
	var set []int
	for i := 0; i < 203; i += 1 + i/3 {
		f.Set(i)
		set = append(set, i)
	}
	for first := -1; first <= 204; first++ {
		var want []int
		for _, i := range set {
			if i >= first {
				want = append(want, i)
			}
		}
		if got := slices.Collect(f.From(first)); !slices.Equal(got, want) {
			t.Errorf("from %d: %v, want %v", first, got, want)
		}
	}
	for i := range f.From(1) {
		if i != 1 {
			t.Errorf("the first from 1 is %d", i)
		}
		break
	}
}
