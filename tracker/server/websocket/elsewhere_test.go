package websocket_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/causeway-bt/causeway/tracker/server/table"
	"github.com/causeway-bt/causeway/tracker/server/websocket"
	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

// otherNode has all swarms on another node: it answers later, and names its sockets as those of a
// third one.
type otherNode struct {
	*table.Table
	deliver func(table.Handle, []byte) bool
	hold    chan struct{} // answers come once it is closed

	wg sync.WaitGroup
}

// thirdNode is added to handles.
const thirdNode = table.Handle(3 << 48)

func (o *otherNode) later(f func()) {
	o.wg.Go(func() {
		<-o.hold
		f()
	})
}

func (*otherNode) AnnounceWeb(*table.WebAnnounce, *table.WebReply) error { return table.ErrElsewhere }
func (*otherNode) Answer(*table.Answer) (table.Handle, error)            { return 0, table.ErrElsewhere }

func (*otherNode) Scrape(table.Hash) (table.Counts, error) {
	return table.Counts{}, fmt.Errorf("it is so: %w", table.ErrElsewhere)
}

func (o *otherNode) AnnounceWebLater(a *table.WebAnnounce, done func(*table.WebReply, error)) {
	o.later(func() {
		var r table.WebReply
		err := o.Table.AnnounceWeb(a, &r)
		for i := range r.Given {
			r.Given[i].To |= thirdNode
		}
		done(&r, err)
	})
}

func (o *otherNode) AnswerLater(a *table.Answer, done func(table.Handle, error)) {
	o.later(func() {
		h, err := o.Table.Answer(a)
		done(h|thirdNode, err)
	})
}

func (o *otherNode) ScrapeLater(h table.Hash, done func(table.Counts, error)) {
	o.later(func() { done(o.Table.Scrape(h)) })
}

func (o *otherNode) Send(to table.Handle, message []byte) { o.deliver(to&^thirdNode, message) }

func startElsewhere(t *testing.T) (*tracker, *otherNode) {
	var other *otherNode
	t.Cleanup(func() { other.wg.Wait() }) // once the server adds no more
	tr := start(t, func(c *websocket.Config, _ *socket.Config) {
		other = &otherNode{Table: c.Swarms.(*table.Table), hold: make(chan struct{})}
		c.Swarms = other
	})
	other.deliver = tr.front.Deliver
	return tr, other
}

// A cluster answers later, and its offers and answers go to sockets of other nodes.
func TestSwarmsOfOtherNodes(t *testing.T) {
	tr, other := startElsewhere(t)
	close(other.hold)
	hash := named("hash")
	a, b := tr.dial(), tr.dial()
	token := a.ask(announce(hash, named("a"), fields{"left": 0}))["tracker id"]
	b.ask(announce(hash, named("b"), fields{"offers": offers(3)})).expect(t, fields{"complete": 1, "incomplete": 1})
	offer := a.next()
	offer.expect(t, fields{"peer_id": latin(named("b"))})
	a.send(fields{
		"action": "announce", "info_hash": latin(hash), "peer_id": latin(named("a")), "to_peer_id": latin(named("b")),
		"offer_id": offer["offer_id"], "answer": fields{"sdp": "answer"},
	})
	b.next().expect(t, fields{"peer_id": latin(named("a")), "offer_id": offer["offer_id"]})
	files := b.ask(fields{"action": "scrape", "info_hash": []string{latin(hash), latin(named("x"))}})["files"].(map[string]any)
	fields(files[latin(hash)].(map[string]any)).expect(t, fields{"complete": 1, "incomplete": 1})
	// The tracker id moves a peer id there, too.
	c := tr.dial()
	if got := c.ask(announce(hash, named("a"), nil)); got["failure reason"] == nil {
		t.Errorf("got %v", got)
	}
	c.ask(announce(hash, named("a"), fields{"trackerid": token, "left": 0})).expect(t, fields{"complete": 1, "incomplete": 1})
}

// A socket that closes before the other node has answered leaves nothing behind.
func TestASocketThatClosesMeanwhile(t *testing.T) {
	tr, other := startElsewhere(t)
	c := tr.dial()
	c.send(announce(named("hash"), named("a"), nil))
	waitFor(t, "the announce", func() bool { return tr.front.Stats().Announces == 1 })
	_ = c.conn.CloseNow()
	waitFor(t, "the socket to be gone", func() bool { return tr.sockets.Stats().Open == 0 })
	close(other.hold)
	other.wg.Wait()
	if n := tr.table.Size().PeersWeb; n != 0 {
		t.Errorf("%d peers are left", n)
	}
}
