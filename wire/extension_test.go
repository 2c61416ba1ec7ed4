package wire

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestExtHandshakeBytes(t *testing.T) {
	h := ExtHandshake{
		M:       map[string]byte{ExtMetadata: OurMetadata, ExtPEX: OurPEX},
		Version: "Causeway 1", Port: 6881, Reqq: 250,
		YourIP: netip.MustParseAddr("::ffff:1.2.3.4"), UploadOnly: true, MetadataSize: 31235,
	}
	want := "d1:md11:ut_metadatai1e6:ut_pexi2ee13:metadata_sizei31235e1:pi6881e4:reqqi250e" +
		"11:upload_onlyi1e1:v10:Causeway 16:yourip4:\x01\x02\x03\x04e"
	if got := string(h.Encode()); got != want {
		t.Errorf("wrote %q\nwant  %q", got, want)
	}
	got, err := DecodeExtHandshake([]byte(want))
	h.YourIP = h.YourIP.Unmap()
	if err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("read %+v, %v, want %+v", got, err, h)
	}
	if got := string((&ExtHandshake{}).Encode()); got != "d1:mdee" {
		t.Errorf("an empty one is %q", got)
	}
}

func TestOddExtHandshakes(t *testing.T) {
	none := ExtHandshake{M: map[string]byte{}}
	metadata := func(n byte) ExtHandshake { return ExtHandshake{M: map[string]byte{ExtMetadata: n}} }
	for _, c := range []struct {
		name, in string
		want     ExtHandshake
	}{
		{"empty", "de", none},
		{"fields of the wrong type", "d1:mi1e1:pl1:xe4:reqqd1:ai1ee1:vi3e6:yourip3:abc13:metadata_size1:9e", none},
		{"numbers out of range", "d1:pi70000e4:reqqi-5e13:metadata_sizei-1ee", none},
		{"a number too long for 64 bits", "d4:reqqi99999999999999999999ee", none},
		{"extension numbers out of range", "d1:md11:ut_metadatai256e6:ut_pexi-1eee", none},
		{"an extension switched off", "d1:md11:ut_metadatai0eee", metadata(0)},
		{"extensions nobody knows", "d1:md1:ai1e11:ut_metadatai3e1:zi9eee", metadata(3)},
		{"a queue without end", "d4:reqqi9223372036854775807ee", ExtHandshake{M: map[string]byte{}, Reqq: 1 << 20}},
		{"orders in the name", "d1:v9:a\x1b[31m\nb\xffe", ExtHandshake{M: map[string]byte{}, Version: "a[31mb"}},
		{"what follows is no matter", "deXYZ", none},
	} {
		got, err := DecodeExtHandshake([]byte(c.in))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
	long, err := DecodeExtHandshake([]byte("d1:v1000:" + strings.Repeat("x", 1000) + "e"))
	if err != nil || len(long.Version) != maxVersion {
		t.Errorf("a name of 1000 bytes: %d kept, %v", len(long.Version), err)
	}
}

func TestMalformedBencoding(t *testing.T) {
	for _, in := range []string{
		"", "d", "i1e", "le", "4:spam", "d1:a", "d1:ai1e", "di1ei2ee", "d99999999999999999999:ae", "d-1:ae",
		"d1:ai" + strings.Repeat("1", 30) + "ee", "e", "d1:aie" + "e",
		strings.Repeat("l", 100000), strings.Repeat("d1:a", 100000), "d1:a" + strings.Repeat("l", 20) + strings.Repeat("e", 20) + "e",
	} {
		if _, err := DecodeExtHandshake([]byte(in)); err == nil {
			t.Errorf("extension handshake %.20q was accepted", in)
		}
		if _, err := DecodePEX([]byte(in)); err == nil {
			t.Errorf("ut_pex %.20q was accepted", in)
		}
		if _, err := DecodeMetadataMessage([]byte(in)); err == nil {
			t.Errorf("ut_metadata %.20q was accepted", in)
		}
	}
}

// TestMetadataBytes: webtorrent.js looks for the first "ee", so these are exact.
func TestMetadataBytes(t *testing.T) {
	for _, c := range []struct {
		m    MetadataMessage
		want string
	}{
		{MetadataMessage{Type: MetadataRequest, Piece: 3}, "d8:msg_typei0e5:piecei3ee"},
		{MetadataMessage{Type: MetadataData, Piece: 0, TotalSize: 34256, Data: []byte("xxeexx")}, "d8:msg_typei1e5:piecei0e10:total_sizei34256eexxeexx"},
		{MetadataMessage{Type: MetadataReject, Piece: 1}, "d8:msg_typei2e5:piecei1ee"},
	} {
		if got := string(c.m.Encode()); got != c.want {
			t.Errorf("wrote %q, want %q", got, c.want)
		}
		if got, err := DecodeMetadataMessage([]byte(c.want)); err != nil || !reflect.DeepEqual(got, c.m) {
			t.Errorf("read %+v, %v, want %+v", got, err, c.m)
		}
	}
}

func TestOddMetadataMessages(t *testing.T) {
	for _, in := range []string{
		"d8:msg_typei0ee", "d5:piecei0ee", "d8:msg_typei0e5:piecei-1ee", "d8:msg_typei-1e5:piecei0ee",
		"d8:msg_typei0e5:piecei99999999999ee", "d8:msg_type1:05:piecei0ee",
	} {
		if m, err := DecodeMetadataMessage([]byte(in)); err == nil {
			t.Errorf("%q was accepted as %+v", in, m)
		}
	}
	m, err := DecodeMetadataMessage([]byte("d8:msg_typei7e5:piecei0ee"))
	if err != nil || m.Type != 7 {
		t.Errorf("a type of the future: %+v, %v; it is to be passed over, not to end the connection", m, err)
	}
}

func TestDontHave(t *testing.T) {
	if got := EncodeDontHave(0x01020304); !bytes.Equal(got, []byte{1, 2, 3, 4}) {
		t.Errorf("wrote %x", got)
	}
	if got, err := DecodeDontHave([]byte{1, 2, 3, 4}); err != nil || got != 0x01020304 {
		t.Errorf("read %x, %v", got, err)
	}
	for _, b := range [][]byte{nil, {1, 2, 3}, {1, 2, 3, 4, 5}} {
		if _, err := DecodeDontHave(b); err == nil {
			t.Errorf("%x was accepted", b)
		}
	}
}

func TestPEX(t *testing.T) {
	m := PEXMessage{
		Added: []PEXPeer{
			{netip.MustParseAddrPort("1.2.3.4:258"), PEXSeed | PEXOutgoing},
			{netip.MustParseAddrPort("[2001:db8::1]:6881"), PEXEncryption},
		},
		Dropped: []netip.AddrPort{netip.MustParseAddrPort("5.6.7.8:1"), netip.MustParseAddrPort("[2001:db8::2]:2")},
	}
	v6 := "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	want := "d5:added6:\x01\x02\x03\x04\x01\x02" + "7:added.f1:\x12" + "6:added618:" + v6 + "\x01\x1a\xe1" + "8:added6.f1:\x01" +
		"7:dropped6:\x05\x06\x07\x08\x00\x01" + "8:dropped618:" + v6 + "\x02\x00\x02" + "e"
	if got := string(m.Encode()); got != want {
		t.Errorf("wrote %q\nwant  %q", got, want)
	}
	if got, err := DecodePEX([]byte(want)); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("read %+v, %v, want %+v", got, err, m)
	}
}

func TestOddPEX(t *testing.T) {
	many := strings.Repeat("\x01\x02\x03\x04\x00\x05", 5000)
	m, err := DecodePEX([]byte("d5:added30000:" + many + "7:dropped30000:" + many + "e"))
	if err != nil || len(m.Added) != MaxPEX || len(m.Dropped) != MaxPEX {
		t.Errorf("5000 peers: %d added, %d dropped, %v; want %d of each", len(m.Added), len(m.Dropped), err, MaxPEX)
	}
	m, err = DecodePEX([]byte("d5:added13:\x01\x02\x03\x04\x00\x05\x01\x02\x03\x04\x00\x06x7:added.f1:\x02e"))
	if err != nil || len(m.Added) != 2 || m.Added[0].Flags != PEXSeed || m.Added[1].Flags != 0 {
		t.Errorf("a byte too many, a flag too few: %+v, %v", m, err)
	}
	m, err = DecodePEX([]byte("d5:addedi1e7:droppedlee"))
	if err != nil || len(m.Added)+len(m.Dropped) != 0 {
		t.Errorf("fields of the wrong type: %+v, %v", m, err)
	}
}

// TestAllowedFastSet checks the vectors in BEP 6.
func TestAllowedFastSet(t *testing.T) {
	var infoHash [20]byte
	for i := range infoHash {
		infoHash[i] = 0xaa
	}
	addr := netip.MustParseAddr("80.4.4.200")
	want := []uint32{1059, 431, 808, 1217, 287, 376, 1188, 353, 508}
	for _, k := range []int{7, 9} {
		if got := AllowedFastSet(addr, infoHash, 1313, k); !reflect.DeepEqual(got, want[:k]) {
			t.Errorf("%d pieces: %v, want %v", k, got, want[:k])
		}
	}
	if got := AllowedFastSet(netip.MustParseAddr("::ffff:80.4.4.1"), infoHash, 1313, 7); !reflect.DeepEqual(got, want[:7]) {
		t.Errorf("from the same /24: %v", got)
	}
	if got := AllowedFastSet(addr, infoHash, 3, 10); len(got) != 3 {
		t.Errorf("of a torrent with 3 pieces: %v", got)
	}
	if AllowedFastSet(netip.MustParseAddr("2001:db8::1"), infoHash, 1313, 7) != nil || AllowedFastSet(addr, infoHash, 0, 7) != nil {
		t.Error("a set for IPv6, or of no pieces")
	}
}

func FuzzDecodeExtHandshake(f *testing.F) {
	f.Add([]byte("d1:md11:ut_metadatai1e6:ut_pexi2ee13:metadata_sizei31235e1:pi6881e4:reqqi250e1:v10:Causeway 1e"))
	f.Add([]byte("d1:md1:ai99999999999999999999eee"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := DecodeExtHandshake(b)
		if err != nil {
			return
		}
		if h.Port < 0 || h.Port > 65535 || h.Reqq < 0 || h.MetadataSize < 0 || len(h.Version) > maxVersion || len(h.M) > 3 {
			t.Fatalf("out of range: %+v", h)
		}
		if again, err := DecodeExtHandshake(h.Encode()); err != nil || !reflect.DeepEqual(again, h) {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}

func FuzzDecodeMetadataMessage(f *testing.F) {
	f.Add([]byte("d8:msg_typei1e5:piecei0e10:total_sizei34256eexxeexx"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMetadataMessage(b)
		if err != nil {
			return
		}
		if m.Piece < 0 || m.Type < 0 || len(m.Data) > len(b) {
			t.Fatalf("out of range: %+v", m)
		}
		if again, err := DecodeMetadataMessage(m.Encode()); err != nil || again.Piece != m.Piece || !bytes.Equal(again.Data, m.Data) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

func FuzzDecodePEX(f *testing.F) {
	f.Add([]byte("d5:added6:\x01\x02\x03\x04\x01\x027:added.f1:\x127:dropped6:\x05\x06\x07\x08\x00\x01e"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodePEX(b)
		if err != nil {
			return
		}
		if len(m.Added) > MaxPEX || len(m.Dropped) > MaxPEX {
			t.Fatalf("%d added, %d dropped", len(m.Added), len(m.Dropped))
		}
		for _, p := range m.Added {
			if !p.Addr.IsValid() {
				t.Fatalf("invalid address in %+v", m)
			}
		}
		m.Encode()
	})
}
