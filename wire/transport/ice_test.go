package transport

import (
	"encoding/hex"
	"io"
	"net"
	"testing"
)

// The first check of a Chromium over TCP, cut after its USERNAME: the frame's length, the header
// of a binding request, and what follows.
const framedCheck = "002c" + "000100182112a442" + "0102030405060708090a0b0c" + "0006000d" + "6f7572733a746865697273616e" + "000000" + "80280000"

// A check of ICE is told from a peer, whatever encryption is asked of peers, and nothing of it is lost.
func TestICEIsToldFromPeers(t *testing.T) {
	check, err := hex.DecodeString(framedCheck)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []Encryption{EncryptionOff, EncryptionPrefer, EncryptionRequire} {
		addr, results := listen(t, e)
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(check); err != nil {
			t.Fatal(err)
		}
		r := <-results
		if r.err != nil || !r.conn.ICE() {
			t.Fatalf("encryption %v: %v, want a connection of ICE", e, r.err)
		}
		got := make([]byte, len(check))
		if _, err := io.ReadFull(r.conn, got); err != nil || string(got) != string(check) {
			t.Errorf("encryption %v: read %x, %v", e, got, err)
		}
		r.conn.Close()
	}
}

// What differs from a check in any of what makes one is a peer's.
func TestWhatIsNoCheckOfICE(t *testing.T) {
	check, err := hex.DecodeString(framedCheck)
	if err != nil {
		t.Fatal(err)
	}
	first := [len(protocolHeader)]byte(check)
	if !isICE(first) {
		t.Fatal("the check is none")
	}
	for i := range 10 {
		changed := first
		changed[i] ^= 1
		if isICE(changed) {
			t.Errorf("%x is one, too", changed)
		}
	}
	if isICE([len(protocolHeader)]byte([]byte(protocolHeader))) {
		t.Error("a peer's handshake is one")
	}
}
