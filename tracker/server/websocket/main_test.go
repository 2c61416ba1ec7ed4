package websocket_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/causeway-bt/causeway/tracker/server/table"
	"github.com/causeway-bt/causeway/tracker/server/websocket"
	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

func TestMain(m *testing.M) {
	runAsChild()
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what has to happen.
const patience = 20 * time.Second

// tracker is a server under test, without other front ends.
type tracker struct {
	t       *testing.T
	table   *table.Table
	sockets *socket.Server
	front   *websocket.Server
	web     *httptest.Server
	url     string
}

// start runs a tracker until the test ends. edit may change its configuration.
func start(t *testing.T, edit func(*websocket.Config, *socket.Config)) *tracker {
	t.Helper()
	tr := &tracker{t: t, table: table.New(table.Config{Limits: table.Limits{HostInSwarm: -1, HostPeers: -1}})}
	front := websocket.Config{Swarms: tr.table}
	var sockets socket.Config
	if edit != nil {
		edit(&front, &sockets)
	}
	tr.sockets = socket.New(sockets)
	front.Sockets = tr.sockets
	tr.front = websocket.New(front)
	tr.web = httptest.NewServer(http.HandlerFunc(tr.serve))
	tr.url = "ws" + strings.TrimPrefix(tr.web.URL, "http") + "/announce"
	t.Cleanup(func() {
		tr.sockets.Close()
		tr.web.Close()
	})
	return tr
}

func (tr *tracker) serve(w http.ResponseWriter, r *http.Request) {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		tr.t.Error(err)
	}
	_ = tr.front.Accept(w, r, remote.Addr())
}

// client is a peer's end.
type client struct {
	t    *testing.T
	conn *coder.Conn
}

func (tr *tracker) dial() *client {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := coder.Dial(ctx, tr.url, nil)
	if err != nil {
		tr.t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	tr.t.Cleanup(func() { _ = conn.CloseNow() })
	return &client{tr.t, conn}
}

// fields is a message as it is in JSON.
type fields map[string]any

func (c *client) send(m fields) {
	c.t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		c.t.Fatal(err)
	}
	c.sendRaw(string(b))
}

func (c *client) sendRaw(s string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.conn.Write(ctx, coder.MessageText, []byte(s)); err != nil {
		c.t.Fatal(err)
	}
}

// next is the next message that comes.
func (c *client) next() fields {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, b, err := c.conn.Read(ctx)
	if err != nil {
		c.t.Fatalf("no message came: %v", err)
	}
	var m fields
	if err := json.Unmarshal(b, &m); err != nil {
		c.t.Fatalf("%q: %v", b, err)
	}
	return m
}

// ask sends a message and returns the next that comes.
func (c *client) ask(m fields) fields {
	c.t.Helper()
	c.send(m)
	return c.next()
}

// latin is bytes as the protocol has them in strings.
func latin(b string) string {
	runes := make([]rune, len(b))
	for i := range len(b) {
		runes[i] = rune(b[i])
	}
	return string(runes)
}

// named makes 20 bytes, all kinds of them.
func named(s string) string {
	return (s + "\x00\x01\"\\\x7f\x80\xff\xc3 /'<>&--------------------")[:20]
}

func announce(hash, id string, more fields) fields {
	m := fields{
		"action": "announce", "info_hash": latin(hash), "peer_id": latin(id), "numwant": 5,
		"uploaded": 0, "downloaded": 0, "left": 1000, "event": "started",
	}
	for k, v := range more {
		if m[k] = v; v == "absent" {
			delete(m, k)
		}
	}
	return m
}

func offers(n int) []fields {
	list := make([]fields, n)
	for i := range list {
		list[i] = fields{
			"offer_id": latin(named(fmt.Sprintf("o%d", i))),
			"offer":    fields{"type": "offer", "sdp": fmt.Sprintf("v=0\r\n\"ünïcode\" %d", i)},
		}
	}
	return list
}

// expect compares some of a message's fields.
func (m fields) expect(t *testing.T, want fields) {
	t.Helper()
	for k, v := range want {
		if n, ok := v.(int); ok {
			v = float64(n)
		}
		if m[k] != v {
			t.Errorf("%q is %v; want %v, in %v", k, m[k], v, m)
		}
	}
}

// waitFor waits for a condition that another goroutine brings about.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
