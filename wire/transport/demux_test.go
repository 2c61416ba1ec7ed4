package transport

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"strings"
	"testing"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func zeros(prefix string, total int) []byte {
	b := unhex(prefix)
	return append(b, make([]byte, total-len(b))...)
}

func TestClassify(t *testing.T) {
	const cookie = "2112a442"
	for _, c := range []struct {
		name   string
		packet []byte
		want   Class
	}{
		{"DHT query", []byte("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"), ClassDHT},
		{"DHT answer", []byte("d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re"), ClassDHT},
		{"a DHT answer with bytes behind it", []byte("d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re\x00\x00"), ClassDHT},
		{"a DHT answer cut short", []byte("d1:ad2:id20:abcdefghij0123456789"), ClassDHT},
		{"a d and something else", []byte("dear sir or madam"), ClassUnknown},
		{"only a d", []byte("d"), ClassUnknown},

		{"STUN binding request", zeros("00010000"+cookie, 20), ClassSTUN},
		{"STUN binding success", zeros("0101000c"+cookie, 32), ClassSTUN},
		{"STUN error", zeros("01110000"+cookie, 20), ClassSTUN},
		{"TURN allocate", zeros("00030000"+cookie, 20), ClassSTUN},
		{"STUN of the wrong length", zeros("00010004"+cookie, 20), ClassUnknown},
		{"STUN without its cookie", zeros("00010000", 20), ClassUnknown},

		{"DTLS 1.0 client hello", zeros("16feff00000000000000000020", 13+32), ClassDTLS},
		{"DTLS 1.2 application data", zeros("17fefd00010000000000010010", 13+16), ClassDTLS},
		{"two DTLS records", zeros("14fefd00000000000000000001", 13+1+13+16), ClassDTLS},
		{"DTLS record cut short", zeros("17fefd00010000000000010011", 13+16), ClassUnknown},
		{"a DTLS type with another version", zeros("17030300010000000000010010", 13+16), ClassUnknown},
		{"less than a DTLS header", unhex("17fefd0001"), ClassUnknown},

		{"TURN channel data", zeros("40000005", 4+5), ClassTURN},
		{"padded TURN channel data", zeros("40000005", 4+8), ClassTURN},
		{"TURN channel data on the highest channel", zeros("4fff0000", 4), ClassTURN},
		{"TURN channel data cut short", zeros("40000005", 4+4), ClassUnknown},

		{"uTP ST_DATA", zeros("01001234", 20), ClassUTP},
		{"uTP ST_FIN", zeros("11001234", 20), ClassUTP},
		{"uTP ST_STATE with a selective ack", zeros("21011234", 26), ClassUTP},
		{"uTP ST_RESET", zeros("31001234", 20), ClassUTP},
		{"uTP ST_SYN", zeros("41001234", 20), ClassUTP},
		{"uTP of another version", zeros("02001234", 20), ClassUnknown},
		{"uTP of an unknown type", zeros("51001234", 20), ClassUnknown},
		{"less than a uTP header", zeros("01001234", 19), ClassUnknown},

		{"0x01 with the cookie is STUN", zeros("01010000"+cookie, 20), ClassSTUN},
		{"0x01 with the cookie but another length is uTP", zeros("01011234"+cookie, 20), ClassUTP},
		{"0x41 with its length is TURN", zeros("41000010", 20), ClassTURN},
		{"0x41 with another length is uTP", zeros("41000011", 20), ClassUTP},

		{"tracker connect", zeros("0000041727101980", 16), ClassTracker},
		{"tracker connect, with more behind", zeros("0000041727101980", 20), ClassTracker},
		{"tracker connect cut short", zeros("0000041727101980", 15), ClassUnknown},
		{"tracker connect of another protocol", zeros("0000041727101981", 16), ClassUnknown},
		{"tracker announce", zeros("ca00000000000000"+"00000001", 98), ClassTracker},
		{"tracker scrape", zeros("caffffff2112a442"+"00000002", 36), ClassTracker},
		{"tracker announce cut short", zeros("ca00000000000000", 15), ClassUnknown},
		{"announce to another tracker", zeros("cb00000000000000"+"00000001", 98), ClassUnknown},

		{"nothing", nil, ClassUnknown},
		{"the TCP handshake", []byte("\x13BitTorrent protocol"), ClassUnknown},
		{"RTP", zeros("80600000", 20), ClassUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Classify(c.packet); got != c.want {
				t.Errorf("%x is %v, want %v", c.packet, got, c.want)
			}
		})
	}
}

// realPackets reads testdata/packets.txt.
func realPackets(t testing.TB) (packets []realPacket) {
	t.Helper()
	for line := range strings.Lines(realPacketsFile) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 4 {
			t.Fatalf("%d fields in %q", len(fields), line)
		}
		packets = append(packets, realPacket{class: fields[0], name: fields[1] + ", " + fields[2], payload: unhex(fields[3])})
	}
	return packets
}

type realPacket struct {
	class, name string
	payload     []byte
}

//go:embed testdata/packets.txt
var realPacketsFile string

// TestRealPackets has a packet of real programs for every row of the table, and for every type of
// uTP's.
func TestRealPackets(t *testing.T) {
	seen, utpTypes := map[Class]int{}, map[byte]bool{}
	for _, p := range realPackets(t) {
		class := Classify(p.payload)
		if class.String() != p.class {
			t.Errorf("%s is %v, want %s: %x", p.name, class, p.class, p.payload)
		}
		seen[class]++
		if class == ClassUTP {
			utpTypes[p.payload[0]>>4] = true
		}
	}
	for class := ClassDHT; class < numClasses; class++ {
		if seen[class] == 0 {
			t.Errorf("no packet of %v", class)
		}
	}
	if len(utpTypes) != utpMaxType+1 {
		t.Errorf("uTP's types are %v, want all", utpTypes)
	}
}

// FuzzClassify checks that no packet confuses the classifier, and that a class is only
// given to packets with the first byte that RFC 7983, BEP 5 or BEP 29 allow.
func FuzzClassify(f *testing.F) {
	f.Add([]byte("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"))
	f.Add(zeros("000100002112a442", 20))
	f.Add(zeros("16feff00000000000000000020", 45))
	f.Add(zeros("41000010", 20))
	for _, p := range realPackets(f) {
		f.Add(p.payload)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		class := Classify(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the packet was changed")
		}
		if class == ClassUnknown {
			return
		}
		first := b[0]
		allowed := map[Class]bool{
			ClassDHT:  first == 'd',
			ClassSTUN: first <= 3,
			ClassDTLS: first >= 20 && first <= 63,
			ClassTURN: first >= 64 && first <= 79,
			ClassUTP:  first&0xf == 1 && first>>4 <= 4,

			ClassTracker: first == 0 || first == trackerFirst,
		}
		if !allowed[class] {
			t.Fatalf("%x is %v", b, class)
		}
	})
}
