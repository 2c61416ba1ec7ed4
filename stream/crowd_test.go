package stream_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/stream"
)

// listening serves a torrent on a listener of its own, as the program does.
func listening(t *testing.T, cfg stream.Config, torrent *fakeTorrent) (s *stream.Server, address string) {
	t.Helper()
	cfg.Torrents = func() []stream.Torrent { return []stream.Torrent{torrent} }
	s = stream.New(cfg)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(ln); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return s, ln.Addr().String()
}

// send opens a connection, sends bytes on it, and leaves it open until the test ends.
func send(t *testing.T, address, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// Who has given way already cannot be written to.
	_, _ = io.WriteString(conn, text)
	return conn
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting for %s", what)
		}
	}
}

func request(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n" }

// ask sends a request on a new connection, and returns the answer.
func ask(t *testing.T, address, text string) *http.Response {
	t.Helper()
	conn := send(t, address, text)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return res
}

// TestIdleConnectionsGiveWay: those that hold all places, for whatever they wait, keep
// no player of the same address out, and cut no stream that goes on.
func TestIdleConnectionsGiveWay(t *testing.T) {
	const file = "/t/" + fakeHash + "/0"
	for name, text := range map[string]string{
		"nothing sent":             "",
		"half a header":            "GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
		"kept alive":               request("/"),
		"kept alive, absent":       request("/t/x/0"),
		"announced body":           "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n",
		"announced body, foreign":  "POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 100\r\n\r\n",
		"announced body of a GET":  "GET " + file + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n",
		"large announced body":     "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n",
		"chunked body":             "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
		"half a chunk":             "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc",
		"body of OPTIONS *":        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n",
		"body to be continued":     "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n",
		"body of a preflight":      "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: GET\r\nContent-Length: 9\r\n\r\n",
		"pages that are not read":  request("/") + request("/") + request("/"),
		"stream of what never was": request("/t/" + fakeHash + "/1"),
	} {
		t.Run(name, func(t *testing.T) {
			data := randomBytes(4 * fakePiece)
			served := newFile("a.mp4", data)
			served.verify(0)
			s, address := listening(t, stream.Config{MaxResponses: 4}, newTorrent(served, newFile("b.mp4", data)))
			long := ask(t, address, request(file))
			got := make([]byte, len(data))
			if _, err := io.ReadFull(long.Body, got[:fakePiece]); err != nil {
				t.Fatal(err)
			}
			await(t, "the server to know that", func() bool { return s.Readers()[0].Sent == fakePiece })
			for range 40 {
				send(t, address, text)
			}
			served.complete()
			short := ask(t, address, request(file))
			if body, err := io.ReadAll(short.Body); err != nil || short.StatusCode != http.StatusOK || !bytes.Equal(body, data) {
				t.Errorf("a player that came later got %s and %d bytes: %v", short.Status, len(body), err)
			}
			if _, err := io.ReadFull(long.Body, got[fakePiece:]); err != nil || !bytes.Equal(got, data) {
				t.Errorf("the stream that went on was cut: %v", err)
			}
		})
	}
}

// TestBodiesAreNotWaitedFor: who announces one is answered at once, and let go of.
func TestBodiesAreNotWaitedFor(t *testing.T) {
	_, address := listening(t, stream.Config{Token: "secret"}, newTorrent(newFile("a.mp4", []byte("x")).complete()))
	for _, tc := range []struct {
		method, path, header string
		want                 int
	}{
		{"POST", "/", "Content-Length: 5", http.StatusUnauthorized},
		{"POST", "/?token=secret", "Content-Length: 5", http.StatusRequestEntityTooLarge},
		{"GET", "/t/" + fakeHash + "/0?token=secret", "Content-Length: 5", http.StatusRequestEntityTooLarge},
		{"GET", "/", "Transfer-Encoding: chunked", http.StatusUnauthorized},
		{"HEAD", "/?token=secret", "Transfer-Encoding: chunked", http.StatusRequestEntityTooLarge},
		{"OPTIONS", "*", "Content-Length: 5", http.StatusUnauthorized},
		{"OPTIONS", "*", "Authorization: Bearer secret", http.StatusNoContent},
		{"PUT", "/?token=secret", "Content-Length: 99999999", http.StatusRequestEntityTooLarge},
	} {
		conn := send(t, address, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", tc.method, tc.path, tc.header))
		r := bufio.NewReader(conn)
		res, err := http.ReadResponse(r, &http.Request{Method: tc.method})
		if err != nil {
			t.Errorf("%+v: %v", tc, err)
			continue
		}
		if res.StatusCode != tc.want {
			t.Errorf("%+v: %s", tc, res.Status)
		}
		if tc.want == http.StatusNoContent {
			continue
		}
		if _, err := io.Copy(io.Discard, r); err != nil { // until it is closed
			t.Errorf("%+v: not closed: %v", tc, err)
		}
	}
}

// TestSentBodyIsTakenIn, so that its sender gets to read why it was refused.
func TestSentBodyIsTakenIn(t *testing.T) {
	_, address := listening(t, stream.Config{}, newTorrent(newFile("a.mp4", []byte("x")).complete()))
	res, err := http.Post("http://"+address+"/", "text/plain", bytes.NewReader(make([]byte, 100_000)))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Error(res.Status)
	}
}

// TestResponsesNobodyReadsGiveWay to those that are read, and the others go on.
func TestResponsesNobodyReadsGiveWay(t *testing.T) {
	data := make([]byte, 32<<20) // more than the sockets of both sides hold
	file := newFile("a.mp4", data).complete().onDisk(t)
	for name, read := range map[string]func(net.Conn){
		"never": func(net.Conn) {},
		"a byte at a time": func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			const limit = 4
			opened := file.opened + 1
			s, address := listening(t, stream.Config{MaxResponses: limit}, newTorrent(file))
			long := ask(t, address, request("/t/"+fakeHash+"/0"))
			const most = 24 << 20 // what others have of it in their sockets is less
			if _, err := io.CopyN(io.Discard, long.Body, most); err != nil {
				t.Fatal(err)
			}
			for i := range 3 * limit {
				conn := send(t, address, request("/t/"+fakeHash+"/0"))
				read(conn)
				file.await(t, "the reader", func() bool { return file.opened > opened+i && len(file.readers) <= limit })
			}
			await(t, "the others to be stuck", func() bool {
				now := time.Now()
				for _, r := range s.Readers()[1:] {
					if float64(r.Sent)/(1+now.Sub(r.Started).Seconds()) > 1<<20 {
						return false
					}
				}
				return true
			})
			short := ask(t, address, request("/t/"+fakeHash+"/0"))
			if n, err := io.Copy(io.Discard, short.Body); err != nil || n != int64(len(data)) {
				t.Errorf("a player that came later got %s and %d bytes: %v", short.Status, n, err)
			}
			if n, err := io.Copy(io.Discard, long.Body); err != nil || n != int64(len(data)-most) {
				t.Errorf("the stream that went on was cut after %d bytes: %v", n, err)
			}
		})
	}
}

// TestOthersKeepTheirShare: a crowd of one address takes no place from another one.
func TestOthersKeepTheirShare(t *testing.T) {
	file := newFile("a.mp4", make([]byte, 4*fakePiece))
	file.verify(0)
	s, _ := serve(t, stream.Config{MaxResponses: 3}, newTorrent(file))
	start := func(ctx context.Context, remote string) *recorded {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/t/"+fakeHash+"/0", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr, r.Host = remote, "localhost"
		w := &recorded{header: make(http.Header), began: make(chan struct{}), ended: make(chan struct{})}
		go func() {
			defer close(w.ended)
			s.ServeHTTP(w, r)
			w.begin()
		}()
		<-w.began
		return w
	}
	ctx, cancel := context.WithCancel(t.Context())
	first := start(ctx, "192.0.2.1:1")
	other := start(ctx, "[2001:db8::1]:1")
	third := start(ctx, "[2001:db8:0:1::1]:1")
	refused := start(ctx, "198.51.100.1:1")
	if refused.status != http.StatusServiceUnavailable || refused.header.Get("Retry-After") == "" {
		t.Errorf("a fourth address got %d, though nobody has more than one", refused.status)
	}
	crowd := []*recorded{other}
	for i := range 20 { // all of them one network
		crowd = append(crowd, start(ctx, fmt.Sprintf("[2001:db8::%x:1]:1", i)))
		<-crowd[i].ended
	}
	for _, w := range []*recorded{first, third, crowd[20]} {
		select {
		case <-w.ended:
			t.Error("somebody else's stream was ended")
		default:
		}
	}
	cancel()
	for _, w := range append(crowd, first, third) {
		<-w.ended
	}
}

// recorded is a ResponseWriter that tells when the first byte and the end come.
type recorded struct {
	header http.Header
	status int
	once   sync.Once
	began  chan struct{}
	ended  chan struct{}
}

func (w *recorded) begin()                      { w.once.Do(func() { close(w.began) }) }
func (w *recorded) Header() http.Header         { return w.header }
func (w *recorded) WriteHeader(status int)      { w.status = status }
func (w *recorded) Write(b []byte) (int, error) { w.begin(); return len(b), nil }
