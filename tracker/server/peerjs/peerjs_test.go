package peerjs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to happen.
const patience = 20 * time.Second

// server is a Server under test.
type server struct {
	*Server
	t   *testing.T
	web *httptest.Server
}

func start(t *testing.T, config Config) *server {
	t.Helper()
	sockets := socket.New(socket.Config{})
	config.Sockets = sockets
	s := &server{Server: New(config), t: t}
	s.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Serve(w, r, netip.MustParseAddrPort(r.RemoteAddr).Addr())
	}))
	t.Cleanup(func() {
		s.Server.Close()
		sockets.Close()
		s.web.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

// page is a browser's page with PeerJS.
type page struct {
	t    *testing.T
	conn *coder.Conn
}

func (s *server) dial(path, key, id, token string) *page {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	query := url.Values{"key": {key}, "id": {id}, "token": {token}, "version": {"1.5.5"}}
	conn, _, err := coder.Dial(ctx, "ws"+strings.TrimPrefix(s.web.URL, "http")+path+"?"+query.Encode(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.CloseNow() })
	return &page{s.t, conn}
}

// open is a page that has its id.
func (s *server) open(id, token string) *page {
	s.t.Helper()
	p := s.dial("/peerjs/peerjs", "peerjs", id, token)
	p.wants(`{"type":"OPEN"}`)
	return p
}

func (p *page) next() string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, b, err := p.conn.Read(ctx)
	if err != nil {
		p.t.Fatalf("nothing came: %v", err)
	}
	return string(b)
}

func (p *page) wants(text string) {
	p.t.Helper()
	if got := p.next(); got != text {
		p.t.Fatalf("got %s; want %s", got, text)
	}
}

func (p *page) wantsClose() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, b, err := p.conn.Read(ctx); err == nil || ctx.Err() != nil {
		p.t.Fatalf("got %s, %v; want the end", b, err)
	}
}

func (p *page) send(format string, args ...any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.conn.Write(ctx, coder.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		p.t.Fatal(err)
	}
}

// waitFor waits for a condition that another goroutine brings about.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestPagesExchangeMessages(t *testing.T) {
	s := start(t, Config{})
	a, b := s.open("a", "1"), s.dial("/peerjs", "peerjs", "b é", "2") // as path "/" has it
	b.wants(`{"type":"OPEN"}`)
	for _, kind := range []string{"OFFER", "ANSWER", "CANDIDATE", "LEAVE", "EXPIRE"} {
		a.send(`{"type":%q,"src":"liar","payload": {"sdp":"é\r\n", "n": 1.50},"dst":"b é"}`, kind)
		b.wants(`{"type":"` + kind + `","src":"a","dst":"b é","payload":{"sdp":"é\r\n", "n": 1.50}}`)
	}
	// What means nothing is ignored.
	for _, m := range []string{`{"type":"HEARTBEAT"}`, `nonsense`, `[]`, `{"type":7}`, `{"type":"OPEN","dst":"b é"}`, `{}`} {
		a.send("%s", m)
	}
	b.send(`{"type":"LEAVE","dst":"a"}`)
	a.wants(`{"type":"LEAVE","src":"b é","dst":"a"}`)
	if st := s.Stats(); st.Passed != 6 || st.Clients != 2 {
		t.Errorf("%+v", st)
	}
}

func TestIDs(t *testing.T) {
	s := start(t, Config{})
	seen := make(map[string]bool)
	for _, path := range []string{"/peerjs/id", "/peerjs/peerjs/id", "/peerjs/id?ts=1&version=1.5.5"} {
		req, err := http.NewRequest(http.MethodGet, s.web.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://page.example")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).Match(b) {
			t.Errorf("%s: %q, %v", path, b, err)
		}
		if seen[string(b)] {
			t.Errorf("%s came twice", b)
		}
		seen[string(b)] = true
		if origin := resp.Header.Get("Access-Control-Allow-Origin"); origin != "https://page.example" {
			t.Errorf("allowed is %q", origin)
		}
	}
	for path, status := range map[string]int{"/peerjs": 200, "/peerjs/peers": 401, "/peerjs/peerjs/peers": 401, "/peerjs/x": 404} {
		resp, err := http.Get(s.web.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: status %d; want %d", path, resp.StatusCode, status)
		}
	}
}

func TestAnIDIsTaken(t *testing.T) {
	s := start(t, Config{MaxClients: 2})
	a := s.open("a", "secret")
	thief := s.dial("/peerjs/peerjs", "peerjs", "a", "guess")
	thief.wants(`{"type":"ID-TAKEN","payload":{"msg":"ID is taken"}}`)
	thief.wantsClose()
	b := s.open("b", "1")
	b.send(`{"type":"OFFER","dst":"a","payload":1}`)
	a.wants(`{"type":"OFFER","src":"b","dst":"a","payload":1}`)

	// With the token it is back, while the old socket is still there.
	again := s.open("a", "secret")
	a.wantsClose()
	b.send(`{"type":"OFFER","dst":"a","payload":2}`)
	again.wants(`{"type":"OFFER","src":"b","dst":"a","payload":2}`)

	c := s.dial("/peerjs/peerjs", "peerjs", "c", "1")
	c.wants(`{"type":"ERROR","payload":{"msg":"Server has reached its concurrent user limit"}}`)
	c.wantsClose()

	// And anybody's once it is free.
	_ = again.conn.CloseNow()
	waitFor(t, "a to be gone", func() bool { return s.Stats().Clients == 1 })
	s.open("a", "guess")
}

func TestWrongParameters(t *testing.T) {
	s := start(t, Config{})
	for _, c := range []struct{ key, id, token, want string }{
		{"other", "a", "1", "Invalid key provided"},
		{"", "a", "1", "No id, token, or key supplied to websocket server"},
		{"peerjs", "", "1", "No id, token, or key supplied to websocket server"},
		{"peerjs", "a", "", "No id, token, or key supplied to websocket server"},
		{"peerjs", strings.Repeat("a", 200), "1", "No id, token, or key supplied to websocket server"},
	} {
		p := s.dial("/peerjs/peerjs", c.key, c.id, c.token)
		p.wants(`{"type":"ERROR","payload":{"msg":"` + c.want + `"}}`)
		p.wantsClose()
	}
	if st := s.Stats(); st.Clients != 0 {
		t.Errorf("%+v", st)
	}
}

func TestMessagesWait(t *testing.T) {
	s := start(t, Config{Expire: time.Second})
	a := s.open("a", "1")
	a.send(`{"type":"OFFER","dst":"later","payload":1}`)
	a.send(`{"type":"CANDIDATE","dst":"later","payload":2}`)
	a.send(`{"type":"LEAVE","dst":"later"}`) // does not wait
	waitFor(t, "two messages to wait", func() bool { return s.Stats().Waiting == 2 })
	later := s.open("later", "1")
	later.wants(`{"type":"OFFER","src":"a","dst":"later","payload":1}`)
	later.wants(`{"type":"CANDIDATE","src":"a","dst":"later","payload":2}`)

	begin := time.Now()
	a.send(`{"type":"OFFER","dst":"never","payload":1}`)
	a.send(`{"type":"CANDIDATE","dst":"never","payload":2}`)
	a.wants(`{"type":"EXPIRE","src":"never","dst":"a"}`) // once
	if took := time.Since(begin); took < time.Second {
		t.Errorf("it expired after %v", took)
	}
	later.send(`{"type":"OFFER","dst":"a","payload":3}`)
	a.wants(`{"type":"OFFER","src":"later","dst":"a","payload":3}`)
	if st := s.Stats(); st.Waiting != 0 || st.Expired != 2 {
		t.Errorf("%+v", st)
	}
}

// What waits is bounded for a name, from a sender and in bytes; one too many expires at once.
func TestWhatWaitsIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		fits   []string
		not    string
	}{
		"for a name":    {Config{MaxWaitingFor: 2}, []string{"x", "x"}, "x"},
		"from a sender": {Config{MaxWaitingFrom: 2}, []string{"x", "y"}, "z"},
		"bytes":         {Config{MaxWaitingBytes: 120}, []string{"x", "y"}, "z"},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Expire = time.Hour
			s := start(t, c.config)
			a := s.open("a", "1")
			for _, to := range c.fits {
				a.send(`{"type":"OFFER","dst":%q,"payload":1}`, to)
			}
			a.send(`{"type":"OFFER","dst":%q,"payload":1}`, c.not)
			a.wants(`{"type":"EXPIRE","src":"` + c.not + `","dst":"a"}`)
			if st := s.Stats(); st.Waiting != 2 {
				t.Errorf("%+v", st)
			}
			// There is room again when somebody comes.
			s.open("x", "1").next()
			a.send(`{"type":"OFFER","dst":"room","payload":1}`)
			waitFor(t, "it to wait", func() bool { return s.Stats().Waiting >= 1 })
			s.open("room", "1").wants(`{"type":"OFFER","src":"a","dst":"room","payload":1}`)
		})
	}
}

func TestClientsWithoutHeartbeatAreDropped(t *testing.T) {
	s := start(t, Config{Alive: time.Second})
	dead, alive := s.open("dead", "1"), s.open("alive", "1")
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _, _ = dead.conn.Read(context.Background())
	}()
	for waiting := true; waiting; {
		alive.send(`{"type":"HEARTBEAT"}`)
		select {
		case <-gone:
			waiting = false
		case <-time.After(100 * time.Millisecond): // as often as this client sends one
		}
	}
	if st := s.Stats(); st.Clients != 1 {
		t.Errorf("%+v", st)
	}
}

func TestLeavingGivesTheIDUp(t *testing.T) {
	s := start(t, Config{})
	s.open("a", "1").send(`{"type":"LEAVE"}`)
	waitFor(t, "a to be gone", func() bool { return s.Stats().Clients == 0 })
	s.open("a", "2")
}

// FuzzMessage makes of any message either nothing or one that is JSON, says who sent it, and has
// the same payload.
func FuzzMessage(f *testing.F) {
	for _, m := range []string{
		`{"type":"OFFER","dst":"b","payload":{"sdp":"v=0"}}`, `{"type":"OFFER","dst":"","payload":null}`, `{"type":"LEAVE"}`,
		`{"type":"ANSWER","dst":"\ud800","payload":"\u0000"}`, `{"type":"EXPIRE","src":"x","dst":"<>&"}`, `[]`, `{"type":"OFFER","dst":5}`,
	} {
		f.Add([]byte(m), "me")
	}
	f.Fuzz(func(t *testing.T, text []byte, from string) {
		m, err := parse(text)
		if err != nil || !m.isRelayed() {
			return
		}
		var out struct {
			Type, Src, Dst string
			Payload        json.RawMessage
		}
		b := m.appendTo(nil, from)
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatalf("%q became %q: %v", text, b, err)
		}
		if out.Type != m.kind || string(out.Payload) != string(m.payload) || out.Src != strings.ToValidUTF8(from, "\ufffd") && len(out.Src) < len(from) {
			t.Fatalf("%q became %q", text, b)
		}
	})
}
