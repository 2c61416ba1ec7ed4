package wire

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
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
	h.YourIP = h.YourIP.Unmap()
	if got := DecodeExtHandshake([]byte(want)); !reflect.DeepEqual(got, h) {
		t.Errorf("read %+v, want %+v", got, h)
	}
	if got := string((&ExtHandshake{}).Encode()); got != "d1:mdee" {
		t.Errorf("an empty one is %q", got)
	}
}

func TestOddExtHandshakes(t *testing.T) {
	none := ExtHandshake{M: map[string]byte{}}
	all := ExtHandshake{M: map[string]byte{ExtMetadata: 3, ExtPEX: 2}, Version: "x", Port: 5}
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
		{"nothing", "", none},
		{"no dictionary", "le", none},
		{"not bencoded", "hello", none},
		{"unsorted keys", "d1:v1:x1:md6:ut_pexi2e11:ut_metadatai3ee1:pi5ee", all},
		{"double keys", "d1:md11:ut_metadatai3e11:ut_metadatai9e6:ut_pexi2ee1:v1:x1:v1:y1:pi5e1:pi6ee", all},
		{"double keys, the first of them useless", "d1:mi1e1:md11:ut_metadata1:911:ut_metadatai3e6:ut_pexi2ee1:vi7e1:v1:x1:pi0e1:pi5ee", all},
		{"zeros before numbers", "d1:md11:ut_metadatai003e6:ut_pexi02ee1:pi00005e1:v01:xe", all},
		{"minus zero, nothing, signs and blanks for numbers", "d4:reqqi-0e13:metadata_sizei-0e11:upload_onlyie1:pi+5e1:pi 5e1:v1:x1:pi5e1:md11:ut_metadatai3e6:ut_pexi2eee", all},
		{"a key that is a number", "di1ei2e1:md11:ut_metadatai3e6:ut_pexi2ee1:pi5e1:v1:xe", all},
		{"a key without a value", "d1:md11:ut_metadatai3e6:ut_pexi2ee1:pi5e1:v1:x1:ze", all},
		{"no end", "d1:md11:ut_metadatai3e6:ut_pexi2ee1:pi5e1:v1:x", all},
		{"cut off", "d1:md11:ut_metadatai3e6:ut_pexi2ee1:pi5e1:v1:x13:metadata_sizei12", all},
		{"rubbish at the end", "d1:md11:ut_metadatai3e6:ut_pexi2ee1:pi5e1:v1:xQe", all},
		{"deep nesting", "d1:a" + strings.Repeat("l", 400) + strings.Repeat("e", 400) + "1:md11:ut_metadatai3e6:ut_pexi2ee1:pi5e1:v1:xe", all},
		{"a forged length", "d1:md11:ut_metadatai3e6:ut_pexi2ee1:pi5e1:v1:x1:z99999999999999999999999:ae", all},
	} {
		if got := DecodeExtHandshake([]byte(c.in)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	if long := DecodeExtHandshake([]byte("d1:v1000:" + strings.Repeat("x", 1000) + "e")); len(long.Version) != maxVersion {
		t.Errorf("a name of 1000 bytes: %d kept", len(long.Version))
	}
}

// The longest messages that a peer can send take no longer than those of honest peers:
// the event loop waits for them.
func TestHostileExtensionMessagesTakeNoTime(t *testing.T) {
	const (
		size  = 1 << 20
		bound = time.Millisecond
		tries = 50 // one of them is not disturbed by what else runs
	)
	for name, in := range map[string]string{
		"lists":      "d1:a" + strings.Repeat("l", size),
		"dicts":      strings.Repeat("d1:a", size/4),
		"items":      "d1:al" + strings.Repeat("0:", size/2) + "ee",
		"keys":       "d" + strings.Repeat("0:0:", size/4) + "e",
		"m twice":    "d" + strings.Repeat("1:m"+"d"+strings.Repeat("1:ai1e", 1000)+"e", size/6000) + "e",
		"extensions": "d1:md" + strings.Repeat("6:ut_pexi300e", size/13) + "ee",
		"digits":     "d1:ai" + strings.Repeat("1", size) + "ee",
		"length":     "d" + strings.Repeat("9", size) + ":ae",
		"zeros":      "d" + strings.Repeat("0", size) + ":ae",
		"string":     "d1:v1048576:" + strings.Repeat("\x80", size) + "e",
		"peers":      "d5:added1048572:" + strings.Repeat("\x01\x02\x03\x04\x00\x05", size/6) + "e",
	} {
		least := time.Hour
		for range tries {
			start := time.Now()
			DecodeExtHandshake([]byte(in))
			copied := time.Now()
			_ = []byte(in) // is no work of the decoder
			least = min(least, copied.Sub(start)-time.Since(copied))
		}
		if least > bound {
			t.Errorf("%s: %v", name, least)
		}
	}
}

func TestMalformedBencoding(t *testing.T) {
	for _, in := range []string{
		"", "d", "i1e", "le", "4:spam", "d1:a", "d1:ai1e", "di1ei2ee", "d99999999999999999999:ae", "d-1:ae",
		"d1:ai" + strings.Repeat("1", 100) + "ee", "e", "d1:aie" + "e",
		strings.Repeat("l", 100000), strings.Repeat("d1:a", 100000),
	} {
		if m := DecodePEX([]byte(in)); m.Added != nil || m.Dropped != nil {
			t.Errorf("ut_pex %.20q: %+v", in, m)
		}
		if m, ok := DecodeMetadataMessage([]byte(in)); ok {
			t.Errorf("ut_metadata %.20q was accepted: %+v", in, m)
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
		if got, ok := DecodeMetadataMessage([]byte(c.want)); !ok || !reflect.DeepEqual(got, c.m) {
			t.Errorf("read %+v, %v, want %+v", got, ok, c.m)
		}
	}
}

func TestOddMetadataMessages(t *testing.T) {
	for _, in := range []string{
		"d8:msg_typei0ee", "d5:piecei0ee", "d8:msg_typei0e5:piecei-1ee", "d8:msg_typei-1e5:piecei0ee",
		"d8:msg_typei0e5:piecei99999999999ee", "d8:msg_type1:05:piecei0ee",
	} {
		if m, ok := DecodeMetadataMessage([]byte(in)); ok {
			t.Errorf("%q was accepted as %+v", in, m)
		}
	}
	if m, ok := DecodeMetadataMessage([]byte("d8:msg_typei7e5:piecei0ee")); !ok || m.Type != 7 {
		t.Errorf("a type of the future: %+v, %v", m, ok)
	}
	data := MetadataMessage{Type: MetadataData, Piece: 2, TotalSize: 5, Data: []byte("eexx")}
	for _, in := range []string{
		"d5:piecei2e10:total_sizei5e8:msg_typei1eeeexx",
		"d8:msg_typei01e5:piecei002e10:total_sizei05e5:piecei7eeeexx",
		"d8:msg_typei1e5:piece1:25:piecei2e10:total_sizei5e1:zli1ed1:ai2eeeeeexx",
		"di1ei1e8:msg_typei1e5:piecei2e10:total_sizei5e1:aieeeexx",
	} {
		if m, ok := DecodeMetadataMessage([]byte(in)); !ok || !reflect.DeepEqual(m, data) {
			t.Errorf("%q: %+v, %v, want %+v", in, m, ok, data)
		}
	}
}

func TestDontHave(t *testing.T) {
	if got := EncodeDontHave(0x01020304); !bytes.Equal(got, []byte{1, 2, 3, 4}) {
		t.Errorf("wrote %x", got)
	}
	for _, b := range [][]byte{{1, 2, 3, 4}, {1, 2, 3, 4, 5}} {
		if got, ok := DecodeDontHave(b); !ok || got != 0x01020304 {
			t.Errorf("read %x, %v", got, ok)
		}
	}
	for _, b := range [][]byte{nil, {1, 2, 3}} {
		if _, ok := DecodeDontHave(b); ok {
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
	if got := DecodePEX([]byte(want)); !reflect.DeepEqual(got, m) {
		t.Errorf("read %+v, want %+v", got, m)
	}
}

func TestOddPEX(t *testing.T) {
	many := strings.Repeat("\x01\x02\x03\x04\x00\x05", 5000)
	m := DecodePEX([]byte("d5:added30000:" + many + "7:dropped30000:" + many + "e"))
	if len(m.Added) != MaxPEX || len(m.Dropped) != MaxPEX {
		t.Errorf("5000 peers: %d added, %d dropped; want %d of each", len(m.Added), len(m.Dropped), MaxPEX)
	}
	two := []PEXPeer{{netip.MustParseAddrPort("1.2.3.4:5"), PEXSeed}, {netip.MustParseAddrPort("1.2.3.4:6"), 0}}
	const added = "12:\x01\x02\x03\x04\x00\x05\x01\x02\x03\x04\x00\x06"
	for name, in := range map[string]string{
		"a byte too many, a flag too few": "d5:added13:\x01\x02\x03\x04\x00\x05\x01\x02\x03\x04\x00\x06x7:added.f1:\x02e",
		"unsorted":                        "d7:added.f1:\x025:added" + added + "e",
		"double keys":                     "d5:added" + added + "5:added6:\x09\x09\x09\x09\x00\x097:added.f1:\x02e",
		"double keys of another type":     "d5:addedi5e5:added" + added + "7:added.fle7:added.f1:\x02e",
		"other types":                     "d8:added6.fi1e6:added6de7:droppedle5:added" + added + "7:added.f1:\x028:dropped6i006881ee",
		"no end":                          "d5:added" + added + "7:added.f1:\x02",
	} {
		if m := DecodePEX([]byte(in)); !reflect.DeepEqual(m, PEXMessage{Added: two}) {
			t.Errorf("%s: %+v", name, m)
		}
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
		h := DecodeExtHandshake(b)
		if h.Port < 0 || h.Port > 65535 || h.Reqq < 0 || h.MetadataSize < 0 || len(h.Version) > maxVersion || len(h.M) > 3 {
			t.Fatalf("out of range: %+v", h)
		}
		if again := DecodeExtHandshake(h.Encode()); !reflect.DeepEqual(again, h) {
			t.Fatalf("%+v became %+v", h, again)
		}
	})
}

func FuzzDecodeMetadataMessage(f *testing.F) {
	f.Add([]byte("d8:msg_typei1e5:piecei0e10:total_sizei34256eexxeexx"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := DecodeMetadataMessage(b)
		if !ok {
			return
		}
		if m.Piece < 0 || m.Type < 0 || len(m.Data) > len(b) {
			t.Fatalf("out of range: %+v", m)
		}
		if again, ok := DecodeMetadataMessage(m.Encode()); !ok || again.Piece != m.Piece || !bytes.Equal(again.Data, m.Data) {
			t.Fatalf("%+v became %+v, %v", m, again, ok)
		}
	})
}

func FuzzDecodePEX(f *testing.F) {
	f.Add([]byte("d5:added6:\x01\x02\x03\x04\x01\x027:added.f1:\x127:dropped6:\x05\x06\x07\x08\x00\x01e"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := DecodePEX(b)
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
