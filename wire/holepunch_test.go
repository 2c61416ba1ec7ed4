package wire

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

// What other programs send, and what is nothing.
func TestHolepunchMessages(t *testing.T) {
	four, six := netip.MustParseAddrPort("203.0.113.7:6881"), netip.MustParseAddrPort("[2001:db8::7]:51413")
	for _, test := range []struct {
		name, payload string
		want          HolepunchMessage
		short         bool // as libtorrent writes it, not as we do
	}{
		{"rendezvous", "0000cb0071071ae100000000", HolepunchMessage{Type: HolepunchRendezvous, Addr: four}, false},
		{"connect of libtorrent", "0100cb0071071ae1", HolepunchMessage{Type: HolepunchConnect, Addr: four}, true},
		{"connect by IPv6", "010120010db8000000000000000000000007c8d500000000", HolepunchMessage{Type: HolepunchConnect, Addr: six}, false},
		{"error", "0200cb0071071ae100000003", HolepunchMessage{Type: HolepunchFailed, Addr: four, Error: HolepunchNoSupport}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			payload, err := hex.DecodeString(test.payload)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := DecodeHolepunch(payload)
			if !ok || got != test.want {
				t.Errorf("read %+v, %t; want %+v", got, ok, test.want)
			}
			if b := got.Encode(); !test.short && !bytes.Equal(b, payload) || test.short && !bytes.HasPrefix(b, payload) {
				t.Errorf("written as %x, want %x", b, payload)
			}
		})
	}
	for _, payload := range []string{"", "00", "0000", "0000cb0071071a", "0300cb0071071ae100000000", "0002cb0071071ae100000000", "0101cb0071071ae100000000"} {
		b, err := hex.DecodeString(payload)
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := DecodeHolepunch(b); ok {
			t.Errorf("%s was read as %+v", payload, m)
		}
	}
}

func FuzzDecodeHolepunch(f *testing.F) {
	f.Add((&HolepunchMessage{Type: HolepunchFailed, Addr: netip.MustParseAddrPort("203.0.113.7:6881"), Error: HolepunchNoSelf}).Encode())
	f.Add((&HolepunchMessage{Type: HolepunchConnect, Addr: netip.MustParseAddrPort("[2001:db8::7]:51413")}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := DecodeHolepunch(b)
		if !ok {
			return
		}
		if again, ok := DecodeHolepunch(m.Encode()); !ok || again != m {
			t.Errorf("%+v became %+v, %t", m, again, ok)
		}
	})
}
