package ws

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/causeway-bt/causeway/tracker"
	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

// patience is how long a tracker over sockets may take.
const patience = 20 * time.Second

// socketTracker is a tracker over real sockets: serve is called for each connection.
func socketTracker(t *testing.T, serve func(context.Context, *websocket.Conn)) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // the client hears of it
		}
		defer conn.CloseNow()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		serve(ctx, conn)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are meant to fail
	t.Cleanup(server.Close)
	return server
}

// replies answers every announce.
func replies(ctx context.Context, conn *websocket.Conn) {
	for {
		_, b, err := conn.Read(ctx)
		var announced announceMessage
		if err == nil {
			err = json.Unmarshal(b, &announced)
		}
		if err == nil {
			b, err = json.Marshal(reply(announced.InfoHash, 1800))
		}
		if err == nil {
			err = conn.Write(ctx, websocket.MessageText, b)
		}
		if err != nil {
			return
		}
	}
}

func webSocketURL(server *httptest.Server) string {
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

// transporting is the system's network, with a transport of its own.
type transporting struct {
	reach.System
	transport *http.Transport
}

func (n transporting) HTTPTransport() *http.Transport { return n.transport }

// firstStatus announces a torrent to url and returns what comes of it.
func firstStatus(t *testing.T, network tracker.Network, url string) Status {
	t.Helper()
	m := New(Config{Network: network})
	defer closeManager(t, m)
	torrent := newTorrent("torrent")
	add(t, m, url, torrent)
	return torrent.awaitStatus(t)
}

// awaitStatus waits for the first status.
func (t *fakeTorrent) awaitStatus(tb testing.TB) Status {
	tb.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if status := t.last(); status != (Status{}) {
			return status
		}
	}
	tb.Fatal("no status")
	return Status{}
}

func TestMessagesAreBoundedInSize(t *testing.T) {
	// A description of 64 KiB, which doubles as JSON, is taken.
	large, err := json.Marshal(map[string]any{"action": "announce", "info_hash": idOf("torrent"), "peer_id": idOf("peer"),
		"offer_id": idOf("offer"), "answer": description{"answer", strings.Repeat("\r\n", 32<<10)}})
	if err != nil {
		t.Fatal(err)
	}
	const endless = 128 << 20
	var sent atomic.Int64
	server := socketTracker(t, func(ctx context.Context, conn *websocket.Conn) {
		if err := conn.Write(ctx, websocket.MessageText, large); err != nil {
			return
		}
		w, err := conn.Writer(ctx, websocket.MessageText)
		for block := make([]byte, 64<<10); err == nil && sent.Load() < endless; sent.Add(int64(len(block))) {
			_, err = w.Write(block)
		}
		if err == nil {
			_ = w.Close() // nothing came of the announce if this fails
		}
	})
	server.Start()
	m := New(Config{})
	defer closeManager(t, m)
	torrent := newTorrent("torrent")
	add(t, m, webSocketURL(server), torrent)
	if status := torrent.awaitStatus(t); status.Err == nil || !strings.Contains(status.Err.Error(), "larger than") {
		t.Errorf("status %+v, want that the message was too large", status)
	}
	if n := len(torrent.answers); n == 0 {
		t.Errorf("a message of %d bytes was not taken", len(large))
	}
	// Most of what was sent is in the buffers of the sockets.
	if n := sent.Load(); n > endless/4 {
		t.Errorf("%d MiB of one message were taken", n>>20)
	}
}

func TestTLS(t *testing.T) {
	server := socketTracker(t, replies)
	server.EnableHTTP2 = true // which WebSockets do without
	server.StartTLS()
	if status := firstStatus(t, transporting{transport: server.Client().Transport.(*http.Transport)}, webSocketURL(server)); status.Err != nil || status.Seeds != 3 {
		t.Errorf("a trusted tracker: %+v", status)
	}
	status := firstStatus(t, nil, webSocketURL(server))
	if err := status.Err; err == nil || !strings.Contains(err.Error(), "signed by nobody whom this system trusts") {
		t.Errorf("a tracker that nobody trusts: %+v", status)
	}
}

// inEnvironment is set when this test binary is to connect as its environment says;
// net/http reads that once.
const inEnvironment = "TEST_IN_ENVIRONMENT"

// TestEnvironment has a proxy and a certificate authority found in the environment.
func TestEnvironment(t *testing.T) {
	const url = "wss://example.com/announce" // as the certificate says; nobody else is asked
	if os.Getenv(inEnvironment) != "" {
		if status := firstStatus(t, nil, url); status.Err != nil || status.Seeds != 3 {
			t.Errorf("%+v", status)
		}
		return
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("authorities are the system's here")
	}
	server := socketTracker(t, replies)
	server.StartTLS()
	proxy := newProxy(t, server.Listener.Addr().String())
	authority := filepath.Join(t.TempDir(), "authority.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(authority, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEnvironment$")
	child.Env = append(os.Environ(), inEnvironment+"=1", "HTTPS_PROXY="+proxy.server.URL, "https_proxy=", "NO_PROXY=", "no_proxy=",
		"SSL_CERT_FILE="+authority)
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if asked, _ := proxy.asked.Load().(string); asked != "CONNECT example.com:443" {
		t.Errorf("the proxy was asked %q", asked)
	}
}

// proxy is an HTTP proxy that connects everybody to one address.
type proxy struct {
	server *httptest.Server
	asked  atomic.Value // string: the last method and address
}

func newProxy(t *testing.T, address string) *proxy {
	t.Helper()
	p := &proxy{}
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Store(r.Method + " " + r.Host)
		if r.Method != http.MethodConnect {
			http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
			return
		}
		there, err := net.Dial("tcp", address)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.Close()
		w.WriteHeader(http.StatusOK)
		here, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return // the test has ended
		}
		defer here.Close()
		go func() {
			_, _ = io.Copy(there, buffered) // either end may close; the server may have read ahead
			there.Close()
		}()
		_, _ = io.Copy(here, there)
	}))
	t.Cleanup(p.server.Close)
	return p
}
