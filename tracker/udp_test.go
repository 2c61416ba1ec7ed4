package tracker

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// udpTracker answers each packet with what answer returns, until the test ends.
func udpTracker(t *testing.T, network, addr string, answer func(n int, packet []byte) []byte) string {
	t.Helper()
	pc, err := net.ListenPacket(network, addr)
	if err != nil {
		t.Skip("cannot listen at", addr, err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { pc.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for i := 0; ; i++ {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			if a := answer(i, b[:n]); a != nil {
				pc.WriteTo(a, from)
			}
		}
	}()
	return fmt.Sprintf("udp://%v/announce?pass=key", pc.LocalAddr())
}

func answerTo(packet []byte, action uint32, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, action)
	b = append(b, packet[12:16]...)
	return append(b, body...)
}

// wellBehaved answers as BEP 15 says, with two peers of addrLen bytes.
func wellBehaved(addrLen int) func(int, []byte) []byte {
	return func(_ int, p []byte) []byte {
		if len(p) == 16 {
			return answerTo(p, 0, 1, 2, 3, 4, 5, 6, 7, 8)
		}
		body := []byte{0, 0, 7, 8, 0, 0, 0, 5, 0, 0, 0, 6}
		for i := range 2 {
			addr := make([]byte, addrLen+2)
			addr[addrLen-1] = byte(i + 1)
			addr[0] = 32
			addr[addrLen] = 1
			body = append(body, addr...)
		}
		return answerTo(p, 1, body...)
	}
}

func TestUDPTracker(t *testing.T) {
	for _, c := range []struct {
		addr    string
		addrLen int
		want    []string
	}{
		{"127.0.0.1:0", 4, []string{"32.0.0.1:256", "32.0.0.2:256"}},
		{"[::1]:0", 16, []string{"[2000::1]:256", "[2000::2]:256"}},
	} {
		connects, announces := make(chan []byte, 10), make(chan []byte, 10)
		url := udpTracker(t, "udp", c.addr, func(i int, p []byte) []byte {
			if len(p) == 16 {
				connects <- slices.Clone(p)
			} else {
				announces <- slices.Clone(p)
			}
			return wellBehaved(c.addrLen)(i, p)
		})
		a := New(Config{InfoHash: [20]byte{7}, PeerID: [20]byte{8}, Port: fixedPort(6881), Key: 0x01020304, Stats: func() Stats { return Stats{1, 2, 3} }})
		defer a.Close(t.Context())
		tr := tracked(url)
		for range 2 {
			v := a.visits(tr, []family{family(map[int]string{4: "4", 16: "6"}[c.addrLen])})[0]
			r, err := a.announceOver(t.Context(), tr.url, v)
			if err != nil {
				t.Fatal(err)
			}
			if r.interval != 1800 || r.leeches != 5 || r.seeds != 6 || !slices.Equal(addrStrings(r.peers), c.want) {
				t.Errorf("%+v", r)
			}
		}
		if len(connects) != 1 || len(announces) != 2 {
			t.Errorf("%d connects, %d announces; the connection id was not kept", len(connects), len(announces))
		}
		p := <-announces
		if binary.BigEndian.Uint64(p) != 0x0102030405060708 || p[16] != 7 || p[36] != 8 ||
			binary.BigEndian.Uint64(p[56:]) != 2 || binary.BigEndian.Uint64(p[64:]) != 3 || binary.BigEndian.Uint64(p[72:]) != 1 ||
			binary.BigEndian.Uint32(p[80:]) != 2 || binary.BigEndian.Uint32(p[88:]) != 0x01020304 ||
			binary.BigEndian.Uint32(p[92:]) != 50 || binary.BigEndian.Uint16(p[96:]) != 6881 {
			t.Errorf("announce %x", p)
		}
		if want := "\x02\x12/announce?pass=key"; string(p[98:]) != want {
			t.Errorf("BEP 41 options %q, want %q", p[98:], want)
		}
	}
}

func TestLostUDPPacketIsSentAgainSoon(t *testing.T) {
	url := udpTracker(t, "udp4", "127.0.0.1:0", func(i int, p []byte) []byte {
		if i == 0 {
			return nil
		}
		return wellBehaved(4)(i, p)
	})
	start := time.Now()
	if _, err := announceTo(t.Context(), url, Config{}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestHostileUDPTrackers(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(int, []byte) []byte
		want   string
	}{
		"error":            {func(_ int, p []byte) []byte { return answerTo(p, 3, []byte("no\x1b such\x00")...) }, "refused: no\uFFFD such"},
		"short connect":    {func(_ int, p []byte) []byte { return answerTo(p, 0, 1) }, "connection id"},
		"another action":   {func(_ int, p []byte) []byte { return answerTo(p, 2) }, "action 2"},
		"other and nobody": {func(_ int, p []byte) []byte { return answerTo(make([]byte, 16), 0, make([]byte, 8)...) }, "no answer in time"},
		"empty packets":    {func(_ int, p []byte) []byte { return []byte{} }, "no answer in time"},
		"short announce": {func(_ int, p []byte) []byte {
			if len(p) == 16 {
				return wellBehaved(4)(0, p)
			}
			return answerTo(p, 1, 1, 2, 3)
		}, "for an announce"},
	} {
		t.Run(name, func(t *testing.T) {
			url := udpTracker(t, "udp4", "127.0.0.1:0", c.answer)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := announceTo(ctx, url, Config{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestUDPTrackerThatIsNotThere(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := announceTo(ctx, fmt.Sprintf("udp://%v", pc.LocalAddr()), Config{}); !strings.HasPrefix(err.Error(), "connection refused by 127.0.0.1:") {
		t.Error(err)
	}
}

func FuzzParseUDPResponse(f *testing.F) {
	f.Add([]byte{0, 0, 7, 8, 0, 0, 0, 5, 0, 0, 0, 6, 1, 2, 3, 4, 0x1a, 0xe1}, true)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0x80, 0, 0, 0, 1}, false)
	f.Fuzz(func(t *testing.T, b []byte, ipv4 bool) {
		r, err := parseUDPResponse(b, ipv4)
		if err != nil {
			return
		}
		if r.seeds < 0 || r.leeches < 0 || len(r.peers) > maxPeers {
			t.Fatalf("%+v", r)
		}
		for _, p := range r.peers {
			if !p.IsValid() || p.Port() == 0 {
				t.Fatalf("peer %v", p)
			}
		}
	})
}
