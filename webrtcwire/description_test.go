package webrtcwire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func readSDP(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\n", "\r\n")
}

func TestInspectRealDescriptions(t *testing.T) {
	for _, test := range []struct {
		file  string
		types string
		mdns  int
		addrs int
	}{
		{"chromium-offer.sdp", "mdns", 2, 0},
		{"node-offer.sdp", "host", 0, 2},
	} {
		remote, err := inspect(readSDP(t, test.file))
		if err != nil {
			t.Errorf("%s: %v", test.file, err)
			continue
		}
		if got := strings.Join(remote.types, " "); got != test.types || len(remote.mdns) != test.mdns || len(remote.addrs) != test.addrs {
			t.Errorf("%s: types %s, %d mDNS names, %d addresses; want %s, %d, %d",
				test.file, got, len(remote.mdns), len(remote.addrs), test.types, test.mdns, test.addrs)
		}
		if strings.Contains(remote.sdp, ".local") {
			t.Errorf("%s: pion is given a name to resolve", test.file)
		}
	}
}

// TestHostileDescriptions has each refused with ErrBadSDP, quickly, leaving
// nothing behind.
func TestHostileDescriptions(t *testing.T) {
	transport := loopbackTransport(t, nil)
	good, err := loopbackTransport(t, nil).Offer(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string {
		if !strings.Contains(good.SDP, old) {
			t.Fatalf("no %q in %s", old, good.SDP)
		}
		return strings.Replace(good.SDP, old, new, 1)
	}
	for name, sdp := range map[string]string{
		"empty":              "",
		"binary":             "\x00\xff\xfe",
		"64 KiB":             good.SDP + strings.Repeat("a=x\r\n", 13<<10),
		"many lines":         good.SDP + strings.Repeat("a=x\r\n", maxSDPLines),
		"audio":              good.SDP + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n",
		"two data channels":  good.SDP + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
		"no section":         replace("m=application", "x=application"),
		"no fingerprint":     replace("a=fingerprint", "a=fingerprints"),
		"odd fingerprint":    replace("a=fingerprint:sha-256 ", "a=fingerprint:"),
		"no password":        replace("a=ice-pwd", "a=ice-pwds"),
		"long ufrag":         replace("a=ice-ufrag:", "a=ice-ufrag:"+strings.Repeat("x", maxICECredential)),
		"one byte messages":  replace("a=max-message-size:", "a=max-message-size:1\r\na=y:"),
		"many byte messages": replace("a=max-message-size:", "a=max-message-size:99999999999999999999999\r\na=y:"),
		"version":            replace("v=0", "v=zero"),
	} {
		if answer, err := transport.Answer(testContext(t), sdp); !errors.Is(err, ErrBadSDP) {
			t.Errorf("%s: %v, want ErrBadSDP", name, err)
			if err == nil {
				_ = answer.Close()
			}
		}
	}
	eventually(t, "everything to be released", func() bool { return transport.Stats().Negotiations == 0 })
}

func TestCandidatesAreBounded(t *testing.T) {
	good, err := loopbackTransport(t, nil).Offer(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for i := range 100 {
		fmt.Fprintf(&lines, "a=candidate:%d 1 udp 1 192.0.2.%d 1 typ host\r\n", i, i)
		fmt.Fprintf(&lines, "a=candidate:%d 1 udp 1 name%d.local 1 typ host\r\n", i, i)
		fmt.Fprintf(&lines, "a=candidate:%d 1 udp 1 host%d.example 1 typ host\r\n", i, i)
	}
	for _, bad := range []string{"224.0.0.1", "255.255.255.255", "0.0.0.0", "::"} {
		fmt.Fprintf(&lines, "a=candidate:1 1 udp 1 %s 1 typ host\r\n", bad)
	}
	remote, err := inspect(good.SDP + lines.String())
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(remote.sdp, "a=candidate"); n > maxRemoteCandidates {
		t.Errorf("%d candidates are passed on, want at most %d", n, maxRemoteCandidates)
	}
	if len(remote.mdns) > maxMDNSNames || strings.Contains(remote.sdp, "example") {
		t.Errorf("%d names are looked up, want at most %d mDNS names and no others", len(remote.mdns), maxMDNSNames)
	}
}

// FuzzAnswer feeds descriptions through inspect and, if they pass, through pion.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"chromium-offer.sdp", "node-offer.sdp"} {
		f.Add(readSDP(f, name))
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	transport, err := New(Config{PacketConns: []net.PacketConn{udp}, GatherTimeout: 100 * time.Millisecond})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = transport.Close() })
	f.Fuzz(func(t *testing.T, sdp string) {
		answer, err := transport.Answer(t.Context(), sdp)
		if err != nil {
			if strings.Contains(err.Error(), "panic") {
				t.Error(err)
			}
			return
		}
		if err := answer.Close(); err != nil {
			t.Error(err)
		}
	})
}

// FuzzPacket feeds packets to the mux, as anybody on the network can.
func FuzzPacket(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x08\x21\x12\xa4\x42abcdefghijkl\x00\x06\x00\x03a:b\x00"))
	f.Add([]byte("\x01\x01\x00\x0c\x21\x12\xa4\x42abcdefghijkl\x00\x20\x00\x08\x00\x01\x11\x11\x11\x11\x11\x11"))
	f.Add([]byte("\x16\xfe\xfd"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		m := &mux{
			agents: map[string]*agentConn{"a": {share: newShare("a")}},
			owners: map[netip.AddrPort]*ownership{},
			mirror: &Mirror{asker: asker{questions: map[transactionID]chan<- netip.AddrPort{transactionID([]byte("abcdefghijkl")): make(chan netip.AddrPort, 1)}}},
		}
		p := &packet{n: min(len(b), maxPacket)}
		copy(p.data[:], b)
		m.dispatch(p)
	})
}
