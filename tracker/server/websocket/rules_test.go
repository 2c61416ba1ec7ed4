package websocket_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	coder "github.com/coder/websocket"

	"github.com/causeway-bt/causeway/tracker/server/table"
	"github.com/causeway-bt/causeway/tracker/server/websocket"
	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

func TestNullIsNoSeed(t *testing.T) {
	tr := start(t, nil)
	hash := named("hash")
	c := tr.dial()
	c.ask(announce(hash, named("a"), fields{"left": nil})).expect(t, fields{"complete": 0, "incomplete": 1})
	c.ask(announce(hash, named("a"), fields{"left": 0, "event": "completed"})).expect(t, fields{"complete": 1, "incomplete": 0})
	scrape := c.ask(fields{"action": "scrape", "info_hash": []string{latin(hash), latin(named("other"))}})
	scrape.expect(t, fields{"action": "scrape"})
	files := scrape["files"].(map[string]any)
	fields(files[latin(hash)].(map[string]any)).expect(t, fields{"complete": 1, "incomplete": 0, "downloaded": 1})
	fields(files[latin(named("other"))].(map[string]any)).expect(t, fields{"complete": 0, "incomplete": 0, "downloaded": 0})
	c.ask(announce(hash, named("a"), fields{"event": "stopped"})).expect(t, fields{"complete": 0, "incomplete": 0})
	if n := tr.table.Size().PeersWeb; n != 0 {
		t.Errorf("%d peers are left", n)
	}
}

// Whatever is wrong, the error says action and info_hash, or webtorrent.js would drop the socket.
func TestErrorsAlwaysSayWhatTheyAreAbout(t *testing.T) {
	tr := start(t, nil)
	c := tr.dial()
	hash, id := named("hash"), named("id")
	for _, m := range []struct {
		raw    string
		send   fields
		action string
		hash   string
	}{
		{raw: "nonsense", action: "announce", hash: ""},
		{raw: "{}", action: "announce", hash: ""},
		{raw: `{"action":"announce"}`, action: "announce", hash: ""},
		{raw: `{"action":"scrape"}`, action: "scrape", hash: ""},
		{raw: `{"action":"announce","info_hash":"short"}`, action: "announce", hash: "short"},
		{raw: `{"action":"announce","info_hash":17}`, action: "announce", hash: ""},
		{send: announce(hash, "short", nil), action: "announce", hash: latin(hash)},
		{send: announce(hash, id, fields{"event": "nonsense"}), action: "announce", hash: latin(hash)},
		{send: announce(hash, id, fields{"offers": []int{1}}), action: "announce", hash: latin(hash)},
		{send: announce(hash, id, fields{"answer": "sdp"}), action: "announce", hash: latin(hash)},
		{send: announce(hash, id, fields{"answer": fields{}}), action: "announce", hash: latin(hash)},
		{send: announce(hash, id, fields{"answer": fields{}, "to_peer_id": latin(named("b")), "offer_id": latin(named("o"))}),
			action: "announce", hash: latin(hash)},
		{send: fields{"action": "scrape", "info_hash": "short"}, action: "scrape", hash: "short"},
	} {
		if m.raw != "" {
			c.sendRaw(m.raw)
		} else {
			c.send(m.send)
		}
		got := c.next()
		got.expect(t, fields{"action": m.action, "info_hash": m.hash})
		if reason, _ := got["failure reason"].(string); reason == "" {
			t.Errorf("%v %s got %v", m.send, m.raw, got)
		}
	}
	// None of it did any harm.
	c.ask(announce(hash, id, nil)).expect(t, fields{"incomplete": 1})
}

// Answers go only to a peer whose offer it was, from the one that it was given to, once.
func TestAnswersThatNobodyAskedFor(t *testing.T) {
	tr := start(t, nil)
	hash := named("hash")
	a, b, c := tr.dial(), tr.dial(), tr.dial()
	a.ask(announce(hash, named("a"), nil))
	b.ask(announce(hash, named("b"), fields{"offers": offers(1)}))
	offer := a.next()
	c.ask(announce(hash, named("c"), nil))
	answer := func(from string) fields {
		return fields{
			"action": "announce", "info_hash": latin(hash), "peer_id": latin(named(from)),
			"to_peer_id": latin(named("b")), "offer_id": offer["offer_id"], "answer": fields{"type": "answer", "sdp": from},
		}
	}
	refused := func(c *client, m fields) {
		t.Helper()
		if got := c.ask(m); got["failure reason"] == nil {
			t.Errorf("got %v", got)
		}
	}
	refused(c, answer("c")) // it was not given to it
	refused(c, answer("a")) // it is another
	a.send(answer("a"))
	b.next().expect(t, fields{"peer_id": latin(named("a")), "offer_id": offer["offer_id"]})
	refused(a, answer("a")) // a second time
}

// An answer that comes 120 s after the offer is too late.
func TestLateAnswers(t *testing.T) {
	tr := start(t, nil)
	hash := named("hash")
	a, b := tr.dial(), tr.dial()
	a.ask(announce(hash, named("a"), nil))
	b.ask(announce(hash, named("b"), fields{"offers": offers(1)}))
	offer := a.next()
	tr.table.Tick(time.Now().Add(122 * time.Second))
	got := a.ask(fields{
		"action": "announce", "info_hash": latin(hash), "peer_id": latin(named("a")), "to_peer_id": latin(named("b")),
		"offer_id": offer["offer_id"], "answer": fields{},
	})
	if reason, _ := got["failure reason"].(string); !strings.Contains(reason, "expired") {
		t.Errorf("got %v", got)
	}
}

// Whose a peer id is: see the package's documentation.
func TestAStrangerCannotTakeAPeerID(t *testing.T) {
	tr := start(t, func(c *websocket.Config, _ *socket.Config) { c.ProbeWait = 3 * time.Second })
	hash, id := named("hash"), named("owner")
	owner, stranger := tr.dial(), tr.dial()
	token := owner.ask(announce(hash, id, nil))["tracker id"]
	if s, _ := token.(string); len(s) < 16 {
		t.Fatalf("the tracker id is %v", token)
	}
	// The owner lives: reading answers pings.
	fromOwner := make(chan fields, 10)
	go func() {
		for {
			_, b, err := owner.conn.Read(context.Background())
			if err != nil {
				close(fromOwner)
				return
			}
			fromOwner <- fields{"": string(b)}
		}
	}()
	for _, guess := range []any{"absent", "", "nonsense", 17, strings.Repeat("A", 16)} {
		got := stranger.ask(announce(hash, id, fields{"trackerid": guess}))
		got.expect(t, fields{"action": "announce", "info_hash": latin(hash)})
		if got["failure reason"] == nil {
			t.Fatalf("with trackerid %v a stranger has it: %v", guess, got)
		}
	}
	stranger.ask(announce(hash, id, fields{"event": "stopped"}))
	tr.expectPeers(1)
	_ = stranger.conn.CloseNow()
	tr.settle()
	tr.expectPeers(1)
	// Offers still come to the owner.
	other := tr.dial()
	other.ask(announce(hash, named("other"), fields{"offers": offers(1)}))
	if m, ok := <-fromOwner; !ok || !strings.Contains(m[""].(string), `"offer"`) {
		t.Errorf("the owner got %v, %v", m, ok)
	}
}

// One that comes back with its tracker id has its peer id at once, wherever it comes from.
func TestTheOwnerTakesItsPeerIDBack(t *testing.T) {
	tr := start(t, nil)
	hash, id := named("hash"), named("owner")
	before := tr.dial() // and does not read any more
	token := before.ask(announce(hash, id, nil))["tracker id"]
	after := tr.dial()
	after.ask(announce(hash, id, fields{"trackerid": token})).expect(t, fields{"incomplete": 1})
	if n := tr.front.Stats().Moved; n != 1 {
		t.Errorf("%d peer ids moved", n)
	}
	// The old socket's end does not take it away.
	_ = before.conn.CloseNow()
	tr.settle()
	tr.expectPeers(1)
	tr.dial().ask(announce(hash, named("other"), fields{"offers": offers(1)}))
	if got := after.next(); got["offer"] == nil {
		t.Errorf("got %v", got)
	}
	// It is of no use for other ids.
	if got := tr.dial().ask(announce(hash, named("other"), fields{"trackerid": token})); got["failure reason"] == nil {
		t.Errorf("got %v", got)
	}
}

// A socket that died without notice loses its peer id to the next that asks twice.
func TestADeadSocketLosesItsPeerID(t *testing.T) {
	tr := start(t, func(c *websocket.Config, _ *socket.Config) { c.ProbeWait = time.Second })
	hash, id := named("hash"), named("owner")
	dead := tr.dial() // does not read, so no ping is answered
	dead.ask(announce(hash, id, nil))
	again := tr.dial()
	if got := again.ask(announce(hash, id, nil)); got["failure reason"] == nil {
		t.Fatalf("got %v", got)
	}
	waitFor(t, "the dead socket to be dropped", func() bool { return tr.table.Size().PeersWeb == 0 })
	again.ask(announce(hash, id, nil)).expect(t, fields{"incomplete": 1})
}

func TestOneTorrentHasOnePeerIDOnASocket(t *testing.T) {
	tr := start(t, nil)
	c := tr.dial()
	c.ask(announce(named("hash"), named("a"), nil))
	if got := c.ask(announce(named("hash"), named("b"), nil)); got["failure reason"] == nil {
		t.Errorf("got %v", got)
	}
	c.ask(announce(named("hash2"), named("b"), nil)).expect(t, fields{"incomplete": 1}) // another torrent
	c.ask(announce(named("hash"), named("a"), fields{"event": "stopped"})).expect(t, fields{"incomplete": 0})
	c.ask(announce(named("hash"), named("b"), nil)).expect(t, fields{"incomplete": 1})
}

func TestASocketsTorrents(t *testing.T) {
	tr := start(t, func(c *websocket.Config, _ *socket.Config) { c.MaxTorrents = 40 })
	c := tr.dial()
	hash := func(i int) string { return named(fmt.Sprintf("hash%d.", i)) }
	for i := range 40 {
		c.ask(announce(hash(i), named("a"), nil)).expect(t, fields{"incomplete": 1})
	}
	if got := c.ask(announce(hash(40), named("a"), nil)); got["failure reason"] == nil {
		t.Errorf("the forty-first got %v", got)
	}
	for i := range 20 { // from the middle, so that others take their places
		c.ask(announce(hash(i+10), named("a"), fields{"event": "stopped"})).expect(t, fields{"incomplete": 0})
	}
	c.ask(announce(hash(5), named("a"), nil)).expect(t, fields{"incomplete": 1})
	c.ask(announce(hash(39), named("a"), nil)).expect(t, fields{"incomplete": 1})
	tr.expectPeers(20)
	_ = c.conn.CloseNow()
	tr.settle()
	tr.expectPeers(0)
}

func TestOffersPastTheBoundAreIgnored(t *testing.T) {
	tr := start(t, func(c *websocket.Config, _ *socket.Config) { c.MaxOffers = 3 })
	hash := named("hash")
	for i := range 10 {
		tr.dial().ask(announce(hash, named(fmt.Sprintf("peer%d.", i)), nil))
	}
	tr.dial().ask(announce(hash, named("a"), fields{"offers": offers(10)})).expect(t, fields{"incomplete": 11})
	if n := tr.front.Stats().Offers; n != 3 {
		t.Errorf("%d offers were passed on", n)
	}
}

// Ten thousand offers in one announce are more than a message may have.
func TestTenThousandOffers(t *testing.T) {
	tr := start(t, nil)
	c, other := tr.dial(), tr.dial()
	m := announce(named("hash"), named("a"), fields{"offers": offers(10_000)})
	c.send(m)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, _, err := c.conn.Read(ctx); coder.CloseStatus(err) != coder.StatusMessageTooBig {
		t.Errorf("got %v", err)
	}
	other.ask(announce(named("hash"), named("b"), nil)).expect(t, fields{"incomplete": 1})
}

func TestBinaryMessages(t *testing.T) {
	tr := start(t, nil)
	c, other := tr.dial(), tr.dial()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// JSON is taken, as bittorrent-tracker does; bytes that are no text are refused.
	if err := c.conn.Write(ctx, coder.MessageBinary, []byte(`{"action":"scrape","info_hash":"aaaaaaaaaaaaaaaaaaaa"}`)); err != nil {
		t.Fatal(err)
	}
	c.next().expect(t, fields{"action": "scrape"})
	if err := c.conn.Write(ctx, coder.MessageBinary, []byte{0, 1, 2, 0xFF}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.conn.Read(ctx); coder.CloseStatus(err) != coder.StatusInvalidFramePayloadData {
		t.Errorf("got %v", err)
	}
	other.ask(announce(named("hash"), named("b"), nil)).expect(t, fields{"incomplete": 1})
}

func TestICEServersAreTold(t *testing.T) {
	var asked atomic.Int32
	tr := start(t, func(c *websocket.Config, _ *socket.Config) {
		c.ICEServers = func(id table.ID, remote netip.Addr) []websocket.ICEServer {
			asked.Add(1)
			return []websocket.ICEServer{
				{URLs: []string{"stun:" + remote.String()}},
				{URLs: []string{"turn:t.example"}, Username: string(id[:5]), Credential: `"\`},
			}
		}
	})
	c := tr.dial()
	got := c.ask(announce(named("hash"), named("alice"), nil))
	if s := fmt.Sprint(got["iceServers"]); s != `[map[urls:[stun:127.0.0.1]] map[credential:"\ urls:[turn:t.example] username:alice]]` {
		t.Errorf("told %s", s)
	}
	if got := c.ask(announce(named("hash"), named("alice"), nil)); got["iceServers"] != nil || asked.Load() != 1 {
		t.Errorf("told again: %v", got)
	}
}

// settle waits until the tracker has noticed which sockets are closed: another one is
// served after them, and Stats has them gone.
func (tr *tracker) settle() {
	tr.t.Helper()
	open := -1
	waitFor(tr.t, "closed sockets to be noticed", func() bool {
		was := open
		open = tr.sockets.Stats().Open
		probe := tr.dial()
		probe.ask(fields{"action": "scrape", "info_hash": latin(named("x"))})
		_ = probe.conn.Close(coder.StatusNormalClosure, "")
		return was == open
	})
}

func (tr *tracker) expectPeers(n int64) {
	tr.t.Helper()
	waitFor(tr.t, fmt.Sprintf("%d web peers", n), func() bool { return tr.table.Size().PeersWeb == n })
}
