package server

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"
)

// dial connects; it is up to the test to say whether that may fail.
func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatal("not in time: ", what)
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
}

func TestOneHostWithTenThousandConnections(t *testing.T) {
	s := start(t, Config{HostConnections: 50})
	for i := range 10_000 {
		c, err := net.Dial("tcp", s.tcp)
		if err != nil {
			continue // reset while it was being opened
		}
		defer c.Close()
		if i%1000 == 0 {
			// Others are served on.
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
			tr := &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}
			res, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Get(announceURL("http://"+s.tcp, hash(1), id(1), "&port=1"))
			if err != nil {
				t.Skip("no second address on loopback: ", err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if !bytes.HasPrefix(body, []byte("d8:complete")) {
				t.Fatalf("another host got %q", body)
			}
		}
		if i > 100 {
			c.Close()
			if n := s.conns.open(); n > 52 {
				t.Fatalf("%d connections are open", n)
			}
		}
	}
	if n := strings.Count(s.log.String(), "too many connections of one host"); n != 1 {
		t.Errorf("logged %d times: %s", n, s.log)
	}
}

func TestConnectionsInAllAreBounded(t *testing.T) {
	s := start(t, Config{Connections: 10})
	for range 50 {
		if c, err := net.Dial("tcp", s.tcp); err == nil { // not reset already
			defer c.Close()
		}
	}
	eventually(t, "a log line", func() bool { return strings.Contains(s.log.String(), "too many connections in all") })
	if n := s.conns.open(); n > 10 {
		t.Errorf("%d connections are open", n)
	}
}

func TestHeaderBombs(t *testing.T) {
	s := start(t, Config{})
	for _, bomb := range []string{
		"GET /announce?" + strings.Repeat("a=b&", 1<<20) + " HTTP/1.1\r\n",
		"GET /announce HTTP/1.1\r\n" + strings.Repeat("X-A: b\r\n", 1<<20),
		"GET /announce HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<22),
		"POST / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 1<<20),
		strings.Repeat("G", 1<<22),
		strings.Repeat("\x00", 1<<22),
	} {
		c := dial(t, s.tcp)
		c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = c.Write([]byte(bomb)) // cut off sooner or later
		if reply, err := io.ReadAll(c); isTimeout(err) || bytes.HasPrefix(reply, []byte("HTTP/1.1 200")) {
			t.Errorf("%.20q: %.80q, %v", bomb, reply, err)
		}
	}
	eventually(t, "all connections closed", func() bool { return s.conns.open() == 0 })
}

// TestHalfOpenConnections has many that say nothing, or half of something, while
// others are served. How long the server waits for them is TestSlowOnesAreCutOff's.
func TestHalfOpenConnections(t *testing.T) {
	s := start(t, Config{})
	for i := range 300 {
		c := dial(t, s.tcp)
		switch i % 4 {
		case 0:
		case 1:
			fmt.Fprint(c, "GET /announce?info_hash=")
		case 2:
			fmt.Fprint(c, "POST /announce HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
		case 3:
			fmt.Fprint(c, "GET /stats HTTP/1.1\r\nHost")
		}
	}
	for range 10 {
		if r := get(t, announceURL("http://"+s.tcp, hash(1), id(1), "&port=1")); r.Incomplete != 1 {
			t.Fatalf("%+v", r)
		}
	}
}

// TestSlowOnesAreCutOff looks at the deadlines rather than waiting for them.
func TestSlowOnesAreCutOff(t *testing.T) {
	s := start(t, Config{})
	deadlines := make(chan time.Time, 16)
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := s.admit(watched{ours, deadlines})
	rest := &handedOver{conns: make(chan net.Conn), done: make(chan struct{})}
	go s.serveConn(c, rest)
	first := <-deadlines
	if d := time.Until(first); d > requestWithin || d < requestWithin-5*time.Second {
		t.Errorf("%v for the first request", d)
	}
	// Half a request does not move the deadline.
	_ = theirs.SetDeadline(time.Now().Add(20 * time.Second))
	for _, b := range []byte("GET /announce?a HTTP/1.1\r\n") {
		if _, err := theirs.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	// At the deadline, which net.Pipe keeps as sockets do, it is closed.
	_ = ours.SetDeadline(time.Now())
	if n, err := theirs.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes", n)
	}
	if len(deadlines) > 0 {
		t.Error("half a request moved the deadline")
	}
	eventually(t, "the connection forgotten", func() bool { return s.conns.open() == 0 })
}

// watched tells of deadlines. Its addresses are loopback's.
type watched struct {
	net.Conn
	deadlines chan time.Time
}

func (w watched) SetDeadline(d time.Time) error {
	w.deadlines <- d
	return w.Conn.SetDeadline(d)
}

func (w watched) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }

// TestSlowReader asks a thousand times in one connection without reading a reply: the
// server holds one reply at most, then waits.
func TestSlowReader(t *testing.T) {
	s := start(t, Config{})
	for i := range byte(100) {
		get(t, announceURL("http://"+s.tcp, hash(1), id(i), fmt.Sprintf("&port=%d", 1000+int(i))))
	}
	before := s.Stats().HTTP.Announces.Load()
	c := dial(t, s.tcp)
	a := "GET " + announceURL("", hash(1), id(1), "&port=1001") + " HTTP/1.1\r\nHost: x\r\n\r\n"
	c.SetWriteDeadline(time.Now().Add(3 * time.Second)) // long enough for the buffers in between to be full
	sent := 0
	for {
		n, err := c.Write([]byte(a))
		if sent += n; err != nil {
			break
		}
		if sent > 64<<20 {
			t.Fatal("the server takes requests from one who reads no replies")
		}
	}
	answered := s.Stats().HTTP.Announces.Load() - before
	if r := get(t, announceURL("http://"+s.tcp, hash(1), id(1), "&port=1001")); r.Incomplete != 100 {
		t.Errorf("others meanwhile: %+v", r)
	}
	t.Logf("%d bytes of requests were taken, %d answered", sent, answered)
}

func TestQueriesThatParseToNothing(t *testing.T) {
	for _, q := range []string{"&&&&", "=", "info_hash", "info_hash=%", "info_hash=%1", "=&=&%=%", "peer_id=" + strings.Repeat("%00", 1000)} {
		var r query
		if err := parseQuery([]byte(q), &r, false); err == nil {
			t.Errorf("%q was taken", q)
		}
	}
}

func FuzzQuery(f *testing.F) {
	h, i := hash(1), id(1)
	f.Add("info_hash="+url.QueryEscape(string(h[:]))+"&peer_id="+url.QueryEscape(string(i[:]))+"&port=6881&left=0&event=started", false)
	f.Add("info_hash=%00&info_hash="+url.QueryEscape(string(h[:])), true)
	f.Add("port=1&numwant=-1&compact=0&no_peer_id=1&ip=%3A%3A1&key=", false)
	f.Fuzz(func(t *testing.T, text string, scrape bool) {
		var q query
		if err := parseQuery([]byte(text), &q, scrape); err != nil || scrape {
			return
		}
		// What is taken is what net/url reads, which takes the first of several.
		v, err := url.ParseQuery(text)
		if err != nil || len(v["info_hash"]) != 1 || len(v["peer_id"]) != 1 || strings.Contains(text, ";") || strings.Contains(strings.ReplaceAll(text, "%", ""), "%") {
			return
		}
		for k := range v {
			if !strings.Contains(text, k+"=") { // a key with escapes, which nobody sends
				return
			}
		}
		if v.Get("info_hash") != string(q.Hash[:]) || v.Get("peer_id") != string(q.ID[:]) {
			t.Fatalf("%q: %q, %q", text, q.Hash, q.ID)
		}
	})
}

func FuzzHead(f *testing.F) {
	f.Add([]byte("GET /announce?a=b HTTP/1.1\r\nHost: x\r\nConnection: keep-alive"))
	f.Add([]byte("GET /x/scrape HTTP/1.0\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 2.3.4.5"))
	f.Add([]byte("GET /announce HTTP/1.1\r\nHost: x\nTransfer-Encoding: chunked"))
	f.Add([]byte("GET /announce HTTP/1.1\r\nHost: x\r\nContent-Length : 5"))
	f.Add([]byte("GET /announce HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := parseHead(b, true)
		if !ok {
			return
		}
		// What this loop answers itself is what net/http would take, too.
		if ours, _ := place(h.path); !ours || bytes.Contains(h.path, []byte("\r")) {
			t.Fatalf("path %q", h.path)
		}
		lower := bytes.ToLower(b)
		for _, never := range []string{"\nupgrade", "\ncontent-length", "\ntransfer-encoding", "\nexpect:"} {
			if bytes.Contains(lower, []byte(never)) {
				t.Fatalf("%q was taken", b)
			}
		}
	})
}
