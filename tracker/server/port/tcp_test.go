package port

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

const patience = 10 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// split serves HTTP that says "http", with "+tls" if so, and TURN that echoes, until the test
// ends. It returns the address, and what clients need for TLS.
func split(t *testing.T, config Config) (address string, client *tls.Config, splitter *Splitter) {
	t.Helper()
	example := httptest.NewTLSServer(nil) // for its certificate
	t.Cleanup(example.Close)
	roots := x509.NewCertPool()
	roots.AddCert(example.Certificate())
	if config.TLS != nil {
		config.TLS = &tls.Config{Certificates: example.TLS.Certificates}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	splitter = Listen(listener, config)
	type secure struct{}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") != "" {
				conn, err := websocket.Accept(w, r, nil)
				if err != nil {
					return
				}
				kind, b, err := conn.Read(r.Context())
				if err == nil {
					err = conn.Write(r.Context(), kind, b)
				}
				if err == nil {
					conn.Close(websocket.StatusNormalClosure, "")
				}
				return
			}
			answer := "http"
			if r.Context().Value(secure{}) == true {
				answer += "+tls"
			}
			_, _ = io.WriteString(w, answer)
		}),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, secure{}, Secure(conn))
		},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(splitter) }()
	t.Cleanup(func() {
		server.Close()
		splitter.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serving ended: %v", err)
		}
	})
	return listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.com"}, splitter
}

// echo is a TURN server that echoes.
func echo(conn net.Conn) {
	defer conn.Close()
	_, _ = io.Copy(conn, conn)
}

func get(t *testing.T, url string, config *tls.Config) (string, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: patience}).Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return string(b), err
}

// turn sends bytes that begin as STUN and returns what comes back.
func turn(conn net.Conn, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte("\x00\x01\x02\x03turn")); err != nil {
		return "", err
	}
	b := make([]byte, 8)
	_, err = io.ReadFull(conn, b)
	return string(b), err
}

func TestOnePort(t *testing.T) {
	address, config, _ := split(t, Config{TLS: new(tls.Config), TURN: echo})
	if got, err := get(t, "http://"+address, nil); err != nil || got != "http" {
		t.Errorf("http: %q, %v", got, err)
	}
	if got, err := get(t, "https://"+address, config); err != nil || got != "http+tls" {
		t.Errorf("https: %q, %v", got, err)
	}
	for name, url := range map[string]string{"ws": "ws://" + address, "wss": "wss://" + address} {
		transport := &http.Transport{TLSClientConfig: config}
		conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, b, err := conn.Read(t.Context()); err != nil || string(b) != "hello" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		conn.CloseNow()
		transport.CloseIdleConnections()
	}
	if got, err := turn(net.Dial("tcp", address)); err != nil || got != "\x00\x01\x02\x03turn" {
		t.Errorf("turn: %q, %v", got, err)
	}
	if got, err := turn(dialTLS(address, config)); err != nil || got != "\x00\x01\x02\x03turn" {
		t.Errorf("turns: %q, %v", got, err)
	}
}

func dialTLS(address string, config *tls.Config) (net.Conn, error) {
	return tls.Dial("tcp", address, config)
}

func TestPlainIsRefused(t *testing.T) {
	address, config, _ := split(t, Config{TLS: new(tls.Config), RefusePlain: true, TURN: echo})
	if got, err := get(t, "https://"+address, config); err != nil || got != "http+tls" {
		t.Errorf("https: %q, %v", got, err)
	}
	if got, err := get(t, "http://"+address, nil); err == nil {
		t.Errorf("http: %q", got)
	}
	if got, err := turn(net.Dial("tcp", address)); err == nil {
		t.Errorf("turn: %q", got)
	}
}

func TestWithoutTLSAndTURN(t *testing.T) {
	address, config, _ := split(t, Config{})
	if got, err := get(t, "http://"+address, nil); err != nil || got != "http" {
		t.Errorf("http: %q, %v", got, err)
	}
	if got, err := get(t, "https://"+address, config); err == nil {
		t.Errorf("https: %q", got)
	}
	if got, err := turn(net.Dial("tcp", address)); err == nil {
		t.Errorf("turn: %q", got)
	}
}

// TestBare looks at what is beneath a connection before its first byte was read, and after.
func TestBare(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	splitter := Listen(listener, Config{})
	defer splitter.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := io.WriteString(client, "GET"); err != nil {
		t.Fatal(err)
	}
	conn, err := splitter.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	bare := conn.(interface{ Bare() net.Conn })
	if bare.Bare() != conn {
		t.Error("the first byte would be lost")
	}
	b := make([]byte, 3)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "GET" {
		t.Errorf("read %q, %v", b, err)
	}
	if _, is := bare.Bare().(*net.TCPConn); !is {
		t.Errorf("beneath is a %T", bare.Bare())
	}
}

// TestSilence opens connections that say nothing, or nothing within TLS.
func TestSilence(t *testing.T) {
	address, _, _ := split(t, Config{TLS: new(tls.Config), TURN: echo, Patience: 50 * time.Millisecond})
	for what, hello := range map[string]string{"nothing": "", "half a ClientHello": "\x16\x03\x01\x02\x00\x01"} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, hello); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if _, err := io.Copy(io.Discard, conn); errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: the connection stays open", what)
		}
	}
}

// TestCrowdOfTheSilent opens more silent connections than may wait.
func TestCrowdOfTheSilent(t *testing.T) {
	for _, test := range []struct {
		what       string
		config     Config
		firstStays bool // or the last
	}{
		{"in all", Config{Waiting: 3}, false},
		{"of a host", Config{WaitingPerHost: 3}, true},
	} {
		t.Run(test.what, func(t *testing.T) {
			address, _, splitter := split(t, test.config)
			var conns []net.Conn
			for i := range 4 {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conns = append(conns, conn)
				for deadline := time.Now().Add(patience); i < 3; time.Sleep(time.Millisecond) {
					splitter.mu.Lock()
					n := splitter.waiting.Len()
					splitter.mu.Unlock()
					if n == i+1 {
						break
					}
					if time.Now().After(deadline) {
						t.Fatalf("connection %d does not wait", i)
					}
				}
			}
			gone, stays := conns[0], conns[3]
			if test.firstStays {
				gone, stays = stays, gone
			}
			if err := gone.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			var timeout net.Error
			if _, err := gone.Read(make([]byte, 1)); errors.As(err, &timeout) && timeout.Timeout() {
				t.Error("there are more than may wait")
			}
			if _, err := io.WriteString(stays, "GET / HTTP/1.0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(stays); err != nil || len(b) == 0 {
				t.Errorf("one that may wait got %q, %v", b, err)
			}
		})
	}
}
