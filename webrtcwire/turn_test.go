package webrtcwire

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/causeway-bt/causeway/bench/realpeer"
)

func turnURL(server *realpeer.TURN, transport string) string {
	return server.URL() + "?transport=" + transport
}

func TestRelayOnlyThroughCoturn(t *testing.T) {
	server := realpeer.StartTURN(t)
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) { relayed(t, turnURL(server, transport)) })
	}
}

// TestRelayOnlyOverTLS and DTLS has a certificate that only this test's process trusts.
func TestRelayOnlyOverTLS(t *testing.T) {
	example := httptest.NewTLSServer(nil) // for its certificate
	defer example.Close()
	key, err := x509.MarshalPKCS8PrivateKey(example.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	keyFile, certificate := filepath.Join(dir, "key"), filepath.Join(dir, "certificate")
	for file, block := range map[string]*pem.Block{
		keyFile:     {Type: "PRIVATE KEY", Bytes: key},
		certificate: {Type: "CERTIFICATE", Bytes: example.Certificate().Raw},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port, err := realpeer.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", certificate) // read once: no other test here may need it
	server := realpeer.StartTURN(t, "--cert="+certificate, "--pkey="+keyFile, fmt.Sprint("--tls-listening-port=", port))
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			relayed(t, fmt.Sprintf("turns:%s:%s@127.0.0.1:%d?transport=%s", server.User, server.Password, port, transport))
		})
	}
}

// relayed transfers over a TURN server, from the side that uses nothing else and to it.
func relayed(t *testing.T, url string) {
	t.Helper()
	relayed := loopbackTransport(t, func(c *Config) { c.ICEServers, c.RelayOnly = []string{url}, true })
	direct := loopbackTransport(t, nil)
	for _, order := range [][2]*Transport{{relayed, direct}, {direct, relayed}} {
		a, b := connect(t, order[0], order[1])
		transfer(t, a, b, randomBytes(1, 2<<20))
		transfer(t, b, a, randomBytes(2, 2<<20))
		conn := a
		if order[1] == relayed {
			conn = b
		}
		if conn.Path().Local != "relay" {
			t.Errorf("path %+v, want one from a relay", conn.Path())
		}
	}
}

// silentServer is bound, and answers nothing.
func silentServer(t *testing.T) string {
	t.Helper()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	return silent.LocalAddr().String()
}

func TestOffersNeverWaitForAServerThatIsDown(t *testing.T) {
	silent := silentServer(t)
	transport := loopbackTransport(t, func(c *Config) {
		c.ICEServers = []string{"stun:" + silent, "turn:u:p@" + silent + "?transport=udp"}
		c.GatherTimeout = 200 * time.Millisecond
	})
	start := time.Now()
	offer, err := transport.Offer(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > raceSlowdown*500*time.Millisecond {
		t.Errorf("an offer took %v with a gather timeout of 200 ms", took)
	}
	if !strings.Contains(offer.SDP, "typ host") {
		t.Errorf("no host candidate in\n%s", offer.SDP)
	}
}

// TestReflexiveCandidates asks coturn, which is a STUN server too, and beside it one
// that is down.
func TestReflexiveCandidates(t *testing.T) {
	server := realpeer.StartTURN(t)
	udp, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	transport, err := New(Config{
		PacketConns: []net.PacketConn{udp}, ICEServers: []string{"stun:" + silentServer(t), "stun:" + server.Addr},
		GatherTimeout: testTimeout,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	start := time.Now()
	offer, err := transport.Offer(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > raceSlowdown*500*time.Millisecond {
		t.Errorf("an offer took %v while one STUN server of two is down", took)
	}
	// Loopback is not among the host candidates, so the server's view is news.
	want := fmt.Sprintf(" 127.0.0.1 %d typ srflx", udp.LocalAddr().(*net.UDPAddr).Port)
	if !strings.Contains(offer.SDP, want) {
		t.Errorf("no %q in\n%s", want, offer.SDP)
	}
}

// TestChromiumRelayOnly has a page that uses nothing but the relay, over UDP and
// over TCP, with us reached directly and by the relay too.
func TestChromiumRelayOnly(t *testing.T) {
	server := realpeer.StartTURN(t)
	page := browse(t, "echo.html", chromedp.Flag("allow-loopback-in-peer-connection", true))
	for _, test := range []struct {
		transport string
		relayOnly bool
	}{{"udp", false}, {"tcp", false}, {"udp", true}} {
		t.Run(fmt.Sprintf("%s, both relayed: %v", test.transport, test.relayOnly), func(t *testing.T) {
			call(t, page, fmt.Sprintf(
				`Promise.resolve((config = {iceTransportPolicy: "relay", iceServers: [{urls: "turn:%s?transport=%s", username: "%s", credential: "%s"}]}).iceTransportPolicy)`,
				server.Addr, test.transport, server.User, server.Password))
			transport := loopbackTransport(t, func(c *Config) {
				if test.relayOnly {
					c.ICEServers, c.RelayOnly = []string{turnURL(server, test.transport)}, true
				}
			})
			conn := connectPage(t, page, transport, true)
			echo(t, conn, 1<<20)
			if path := conn.Path(); test.relayOnly && path.Local != "relay" {
				t.Errorf("path %+v, want a relay at our end", path)
			}
		})
	}
}

func TestICEServerURLs(t *testing.T) {
	servers, err := parseICEServers([]string{
		"stun:stun.example", "stun:stun.example:1234", "turn:me:pass:word@turn.example:3478?transport=tcp",
		"turns:me:pw@[2001:db8::1]:443",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(servers.stun, " "); got != "stun.example:3478 stun.example:1234" {
		t.Errorf("STUN servers %s", got)
	}
	if len(servers.turn) != 2 || servers.turn[0].String() != "turn:turn.example:3478?transport=tcp" ||
		servers.turn[0].Username != "me" || servers.turn[0].Password != "pass:word" ||
		!strings.HasPrefix(servers.turn[1].String(), "turns:[2001:db8::1]:443") {
		t.Errorf("TURN servers %+v", servers.turn)
	}
	for _, bad := range []string{"", "stun.example", "http://stun.example", "turn:turn.example", "turn:user@turn.example", "stuns:stun.example", "turn:a:b@"} {
		if err := CheckICEServer(bad); err == nil {
			t.Errorf("%q was taken", bad)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%v shows a password", err)
		}
	}
	if _, err := New(Config{RelayOnly: true}); err == nil {
		t.Error("relay only without a relay was taken")
	}
}
