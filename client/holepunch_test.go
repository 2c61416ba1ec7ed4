package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/wire"
)

// fakeUTP dials by TCP, and writes down whom. That stands for uTP through a NAT: it is no
// matter of these tests how packets come through.
type fakeUTP struct {
	mu     sync.Mutex
	dialed []netip.AddrPort
}

func (f *fakeUTP) DialContext(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	f.mu.Lock()
	f.dialed = append(f.dialed, addr)
	f.mu.Unlock()
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr.String())
}

// times is how often an address was dialled, or with the zero one, how many addresses were.
func (f *fakeUTP) times(addr netip.AddrPort) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	different := map[netip.AddrPort]bool{}
	for _, a := range f.dialed {
		different[a] = true
		if a == addr {
			n++
		}
	}
	if addr == (netip.AddrPort{}) {
		return len(different)
	}
	return n
}

// newPuncher is a client that punches holes, with a fake of uTP.
func newPuncher(t *testing.T) (*Client, *fakeUTP) {
	t.Helper()
	c, utp := newClient(t, plain(t)), &fakeUTP{}
	c.shared.DialUTP = utp.DialContext
	return c, utp
}

// theirHolepunch and theirExchange are how the peers of these tests number the extensions.
const theirHolepunch, theirExchange, theirMetadata = 7, 9, 11

// puncher is a scripted peer that writes down what it is told.
type puncher struct {
	*scripted
	told  chan wire.HolepunchMessage
	hello chan wire.ExtHandshake
	conns chan *scriptedConn
	data  chan wire.Message // of the metadata
}

// newPunchPeer makes one that knows the extension, or not.
func newPunchPeer(t *testing.T, torrent *meta.Torrent, knows bool) *puncher {
	t.Helper()
	p := &puncher{told: make(chan wire.HolepunchMessage, 100), hello: make(chan wire.ExtHandshake, 10), conns: make(chan *scriptedConn, 10), data: make(chan wire.Message, 10)}
	p.scripted = newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
		h := wire.ExtHandshake{M: map[string]byte{wire.ExtPEX: theirExchange, wire.ExtMetadata: theirMetadata}}
		if knows {
			h.M[wire.ExtHolepunch] = theirHolepunch
		}
		c.send(wire.Message{ID: wire.Extended, Payload: h.Encode()}, wire.Message{ID: wire.HaveNone})
		p.conns <- c
	}, func(_ *scriptedConn, m *wire.Message) {
		switch {
		case m.ID != wire.Extended:
		case m.Ext == 0:
			p.hello <- wire.DecodeExtHandshake(m.Payload)
		case m.Ext == theirMetadata:
			p.data <- *m
		case m.Ext == theirHolepunch:
			if message, ok := wire.DecodeHolepunch(m.Payload); ok {
				p.told <- message
			}
		}
	})
	return p
}

func (p *puncher) at() netip.AddrPort { return netip.MustParseAddrPort(p.addr()) }

// say sends a message over the peer's connection.
func say(c *scriptedConn, kind wire.HolepunchType, addr netip.AddrPort, reason wire.HolepunchError) {
	m := wire.HolepunchMessage{Type: kind, Addr: addr, Error: reason}
	c.send(wire.Message{ID: wire.Extended, Ext: wire.OurHolepunch, Payload: m.Encode()})
}

// wait returns what comes by a channel.
func wait[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s came", what)
	}
	return v
}

// As relay, we introduce two peers that are connected to us and know how, and nobody else; and
// not more often than is good for whoever is called.
func TestRelayIntroducesPeers(t *testing.T) {
	_, content := makeTorrent(t, "data.bin", 100<<10)
	a, b, other := newPunchPeer(t, content, true), newPunchPeer(t, content, true), newPunchPeer(t, content, false)
	c, _ := newPuncher(t)
	torrent := add(t, c, &meta.Source{Torrent: content}, TorrentOptions{Dir: t.TempDir(), Peers: []string{a.addr(), b.addr(), other.addr()}})
	conn := wait(t, "connection", a.conns)
	if wait(t, "hello", a.hello).M[wire.ExtHolepunch] == 0 {
		t.Fatal("the extension is not offered")
	}
	until(t, 20*time.Second, "connected to all three", func() bool { return torrent.Stats().Peers.TCP == 3 })
	// All three have said what they know.
	known := func() (n int) {
		counted := make(chan int, 1)
		torrent.do(func() {
			for p := range torrent.loop.peers {
				if p.ext.M != nil {
					n++
				}
			}
			counted <- n
		})
		return <-counted
	}
	until(t, 20*time.Second, "greeted by all three", func() bool { return known() == 3 })
	say(conn, wire.HolepunchRendezvous, b.at(), 0)
	if m := wait(t, "connect", a.told); m != (wire.HolepunchMessage{Type: wire.HolepunchConnect, Addr: b.at()}) {
		t.Errorf("the initiator was told %+v", m)
	}
	if m := wait(t, "connect", b.told); m != (wire.HolepunchMessage{Type: wire.HolepunchConnect, Addr: a.at()}) {
		t.Errorf("the target was told %+v", m)
	}
	for _, test := range []struct {
		addr netip.AddrPort
		want wire.HolepunchError
	}{
		{other.at(), wire.HolepunchNoSupport},
		{a.at(), wire.HolepunchNoSelf},
		{netip.MustParseAddrPort("127.0.0.1:1"), wire.HolepunchNotConnected},
		{netip.AddrPortFrom(b.at().Addr(), 0), wire.HolepunchNoSuchPeer},
	} {
		say(conn, wire.HolepunchRendezvous, test.addr, 0)
		if m := wait(t, "error", a.told); m != (wire.HolepunchMessage{Type: wire.HolepunchFailed, Addr: test.addr, Error: test.want}) {
			t.Errorf("of %v it was told %+v, want: %v", test.addr, m, test.want)
		}
	}
	for range 5 * introductionBurst {
		say(conn, wire.HolepunchRendezvous, b.at(), 0)
	}
	until(t, 20*time.Second, "more introductions", func() bool { return len(b.told) >= introductionBurst-5 })
	time.Sleep(200 * time.Millisecond)
	if n := len(b.told); n > introductionBurst {
		t.Errorf("the target was called %d times", n)
	}
}

// As initiator, we have peers that told us of an address introduce us to it when it cannot be
// dialled: one after the other, two of them.
func TestInitiatorAsksThoseWhoKnowTheTarget(t *testing.T) {
	_, content := makeTorrent(t, "data.bin", 100<<10)
	target := newPunchPeer(t, content, true)
	// The port that the target names and cannot be reached at; that of its uTP packets is another one.
	named := netip.MustParseAddrPort("127.0.0.1:1")
	exchange := wire.PEXMessage{Added: []wire.PEXPeer{{Addr: named, Flags: wire.PEXHolepunch}}}
	c, utp := newPuncher(t)
	torrent := add(t, c, &meta.Source{Torrent: content}, TorrentOptions{Dir: t.TempDir()})
	relays := map[*puncher]*scriptedConn{}
	for range 3 {
		p := newPunchPeer(t, content, true)
		torrent.AddPeers([]string{p.addr()})
		relays[p] = wait(t, "connection", p.conns)
		relays[p].send(wire.Message{ID: wire.Extended, Ext: wire.OurPEX, Payload: exchange.Encode()})
	}
	ask := func() (asked *puncher) {
		until(t, 20*time.Second, "asked for an introduction", func() bool {
			for p := range relays {
				if len(p.told) > 0 {
					asked = p
				}
			}
			return asked != nil
		})
		if m := <-asked.told; m != (wire.HolepunchMessage{Type: wire.HolepunchRendezvous, Addr: named}) {
			t.Fatalf("asked %+v", m)
		}
		return asked
	}
	first := ask()
	say(relays[first], wire.HolepunchFailed, named, wire.HolepunchNotConnected)
	second := ask()
	say(relays[second], wire.HolepunchConnect, target.at(), 0)
	wait(t, "connection to the target", target.conns)
	if utp.times(target.at()) == 0 {
		t.Error("not by uTP")
	}
	until(t, 20*time.Second, "a peer over uTP", func() bool { return torrent.Stats().Peers.TCP+torrent.Stats().Peers.UTP == 4 })
}

// A browser's page that claims to know the extension is no relay.
func TestWhoPunchesHoles(t *testing.T) {
	for kind, want := range map[swarm.Transport]bool{swarm.TCP: true, swarm.UTP: true, swarm.WebRTC: false} {
		p := &peer{kind: kind, ext: wire.ExtHandshake{M: map[string]byte{wire.ExtHolepunch: theirHolepunch}}}
		if got := p.punches(); got != want {
			t.Errorf("%v: %v", kind, got)
		}
	}
}

// As target, we dial whom a relay names, but few, and nobody that may not be named.
func TestTargetDialsFewForARelay(t *testing.T) {
	_, content := makeTorrent(t, "data.bin", 100<<10)
	relay, stranger := newPunchPeer(t, content, true), newPunchPeer(t, content, true)
	c, utp := newPuncher(t)
	add(t, c, &meta.Source{Torrent: content}, TorrentOptions{Dir: t.TempDir(), Peers: []string{relay.addr()}})
	conn := wait(t, "connection", relay.conns)
	say(conn, wire.HolepunchConnect, netip.MustParseAddrPort("239.1.2.3:1000"), 0)
	say(conn, wire.HolepunchConnect, stranger.at(), 0)
	wait(t, "connection to the stranger", stranger.conns)
	for port := range uint16(100) {
		say(conn, wire.HolepunchConnect, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 1+port), 0)
	}
	last := netip.MustParseAddrPort("127.0.0.1:4")
	say(conn, wire.HolepunchRendezvous, last, 0) // answered after all of that was read
	wait(t, "answer", relay.told)
	until(t, 20*time.Second, "dialled a few", func() bool { return utp.times(netip.AddrPort{}) >= strangerBurst-1 })
	time.Sleep(200 * time.Millisecond)
	if n := utp.times(netip.AddrPort{}); n > strangerBurst {
		t.Errorf("%d addresses were dialled for one relay", n)
	}
	if utp.times(netip.MustParseAddrPort("239.1.2.3:1000")) > 0 {
		t.Error("a multicast address was dialled")
	}
}

// In a private torrent no peer introduces another (BEP 27).
func TestPrivateTorrentPunchesNoHoles(t *testing.T) {
	_, private := makePrivate(t)
	_, public := makeTorrent(t, "data.bin", 100<<10)
	for _, content := range []*meta.Torrent{private, public} {
		relay, stranger := newPunchPeer(t, content, true), newPunchPeer(t, content, true)
		c, utp := newPuncher(t)
		add(t, c, &meta.Source{Torrent: content}, TorrentOptions{Dir: t.TempDir(), Peers: []string{relay.addr()}})
		conn := wait(t, "connection", relay.conns)
		if offered := wait(t, "hello", relay.hello).M[wire.ExtHolepunch] != 0; offered == content.Info.Private {
			t.Errorf("private: %t; offered: %t", content.Info.Private, offered)
		}
		say(conn, wire.HolepunchConnect, stranger.at(), 0)
		if content == public {
			wait(t, "connection to the stranger", stranger.conns)
			continue
		}
		// A piece of the metadata is answered after it.
		conn.send(wire.Message{ID: wire.Extended, Ext: wire.OurMetadata, Payload: (&wire.MetadataMessage{Type: wire.MetadataRequest}).Encode()})
		wait(t, "metadata", relay.data)
		if utp.times(netip.AddrPort{}) > 0 {
			t.Error("a private torrent dialled for a relay")
		}
	}
}

// An address whose peer answers with a reset at first is dialled on: the other side's NAT may
// have let it through before the other side was told.
func TestPunchingGoesOnAfterARefusal(t *testing.T) {
	_, content := makeTorrent(t, "data.bin", 100<<10)
	relay, stranger := newPunchPeer(t, content, true), newPunchPeer(t, content, true)
	c := newClient(t, plain(t))
	utp := &refusing{}
	c.shared.DialUTP = utp.DialContext
	add(t, c, &meta.Source{Torrent: content}, TorrentOptions{Dir: t.TempDir(), Peers: []string{relay.addr()}})
	say(wait(t, "connection", relay.conns), wire.HolepunchConnect, stranger.at(), 0)
	wait(t, "connection to the stranger", stranger.conns)
}

// refusing refuses the first dial.
type refusing struct {
	fakeUTP
	once sync.Once
}

func (r *refusing) DialContext(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	first := false
	r.once.Do(func() { first = true })
	if first {
		return nil, errors.New("reset")
	}
	return r.fakeUTP.DialContext(ctx, addr)
}
