package client

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/wire"
	"github.com/causeway-bt/causeway/wire/transport"
)

func TestBetter(t *testing.T) {
	torrent, in := &Torrent{}, swarm.New(swarm.Config{PeerID: [20]byte{5}, Shared: &swarm.Shared{}})
	const second = time.Second
	for _, test := range []struct {
		name              string
		is, comes         swarm.Transport
		isOurs, comesOurs bool
		larger            bool // it is we who have the larger peer id
		elsewhere         bool // the one that comes has another address
		age               time.Duration
		read, payload     time.Duration // how long ago; payload 0: never
		want              bool
	}{
		{name: "TCP for an idle browser", is: swarm.WebRTC, comes: swarm.TCP, age: second, read: second, want: true},
		{name: "TCP for one that has been served", is: swarm.WebRTC, comes: swarm.TCP, age: 60 * second, read: second, payload: 11 * second, want: true},
		{name: "TCP for one that is served", is: swarm.WebRTC, comes: swarm.TCP, age: 60 * second, read: second, payload: 9 * second, want: true},
		{name: "TCP from elsewhere for one that is served", is: swarm.WebRTC, comes: swarm.TCP, elsewhere: true, age: 60 * second, read: second, payload: 9 * second},
		{name: "TCP from elsewhere for an idle browser", is: swarm.WebRTC, comes: swarm.TCP, elsewhere: true, age: second, read: second, want: true},
		{name: "a browser for idle TCP", is: swarm.TCP, comes: swarm.WebRTC, age: 60 * second, read: 50 * second},
		{name: "a browser for silent TCP", is: swarm.TCP, comes: swarm.WebRTC, age: 60 * second, read: 60 * second, want: true},
		{name: "TCP for idle uTP", is: swarm.UTP, comes: swarm.TCP, age: second, read: second, want: true},
		{name: "uTP for idle TCP", is: swarm.TCP, comes: swarm.UTP, age: second, read: second},
		{name: "uTP for an idle browser", is: swarm.WebRTC, comes: swarm.UTP, age: second, read: second, want: true},
		{name: "uTP for one that is served", is: swarm.WebRTC, comes: swarm.UTP, age: 60 * second, read: second, payload: 9 * second, want: true},
		{name: "dialled, larger", comesOurs: true, larger: true, age: second, read: second, want: true},
		{name: "dialled, smaller", comesOurs: true, age: second, read: second},
		{name: "accepted, larger", isOurs: true, larger: true, age: second, read: second},
		{name: "accepted, smaller", isOurs: true, age: second, read: second, want: true},
		{name: "accepted, smaller, beside one that moves data", isOurs: true, age: 60 * second, read: second, payload: second},
		{name: "accepted twice", age: second, read: second},
	} {
		other := &peer{kind: test.is, outgoing: test.isOurs, peerID: [20]byte{9}, joined: time.Now().Add(-test.age)}
		if test.larger {
			other.peerID = [20]byte{1}
		}
		other.lastRead.Store(int64(test.age - test.read))
		if test.payload > 0 {
			other.lastPayload.Store(int64(test.age - test.payload))
		}
		comes := &swarm.Conn{Swarm: in, Kind: test.comes, Outgoing: test.comesOurs}
		if test.elsewhere {
			comes.Addr = netip.MustParseAddrPort("192.0.2.1:1")
		}
		if got := torrent.better(comes, other); got != test.want {
			t.Errorf("%s: got %v", test.name, got)
		}
	}
}

// hasPeers waits until a torrent has so many peers of each kind.
func hasPeers(t *testing.T, torrent *Torrent, tcp, web int) {
	t.Helper()
	var s Stats
	until(t, 10*time.Second, "as many peers as there should be", func() bool {
		s = torrent.Stats()
		return s.Peers.TCP == tcp && s.Peers.WebRTC == web
	})
	if t.Failed() {
		t.Fatalf("%+v, want %d by TCP and %d by WebRTC", s.Peers, tcp, web)
	}
}

// Two that meet over TCP and WebRTC, and have nothing to send, keep TCP.
func TestPeersMetTwiceKeepTCP(t *testing.T) {
	pair := func() (a, b *Torrent) {
		_, torrent := makeTorrent(t, "data.bin", 64<<10)
		a = add(t, newClient(t, web(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
		b = add(t, newClient(t, web(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
		return a, b
	}
	t.Run("TCP first", func(t *testing.T) {
		a, b := pair()
		a.AddPeers([]string{b.client.TCPAddr().String()})
		hasPeers(t, a, 1, 0)
		hasPeers(t, b, 1, 0)
		if err := introduce(t, a, b); !errors.Is(err, errDuplicate) {
			t.Errorf("the offer of a peer that is connected: %v", err)
		}
		hasPeers(t, a, 1, 0)
		hasPeers(t, b, 1, 0)
	})
	t.Run("WebRTC first", func(t *testing.T) {
		a, b := pair()
		if err := introduce(t, a, b); err != nil {
			t.Fatal(err)
		}
		hasPeers(t, a, 0, 1)
		hasPeers(t, b, 0, 1)
		a.AddPeers([]string{b.client.TCPAddr().String()})
		hasPeers(t, a, 1, 0)
		hasPeers(t, b, 1, 0)
	})
}

// claim opens a connection over TCP to a torrent's client, from another address than
// those of the tests' own, with somebody's peer id.
func claim(t *testing.T, torrent *Torrent, peerID [20]byte) net.Conn {
	t.Helper()
	elsewhere := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := elsewhere.Dial("tcp", torrent.client.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	h := wire.Handshake{Reserved: wire.OurReserved(false), InfoHash: torrent.infoHash, PeerID: peerID}
	if err := wire.WriteHandshake(conn, h); err != nil {
		t.Fatal(err)
	}
	if _, err := wire.ReadHandshake(conn); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Whoever knows the peer id of a browser that is served, as all do who ask the tracker,
// takes nothing from it.
func TestPeerIDIsNoProof(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 1<<20)
	cfg := web(t)
	cfg.UpLimit, cfg.Encryption = 256<<10, transport.EncryptionOff
	seed := add(t, newClient(t, cfg), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	page := add(t, newClient(t, web(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
	if err := introduce(t, page, seed); err != nil {
		t.Fatal(err)
	}
	until(t, 10*time.Second, "served", func() bool { return seed.Stats().Uploaded > 0 })
	conn := claim(t, seed, page.swarms[0].PeerID())
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, conn); n > 0 || err != nil {
		t.Errorf("whoever claims the browser's peer id was sent %d bytes, and then: %v, want to be hung up on", n, err)
	}
	if s := page.Stats(); s.Peers.WebRTC != 1 || s.State != StateDownloading {
		t.Errorf("the browser is %s, with %d connections", s.State, s.Peers.WebRTC)
	}
	within(t, 20*time.Second, "the download", page, page.Complete())
}

// Nor does whoever was there first, once it has gone silent.
func TestSilentPeerKeepsNoBrowserAway(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 64<<10)
	cfg := web(t)
	cfg.Encryption = transport.EncryptionOff
	seed := add(t, newClient(t, cfg), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	page := add(t, newClient(t, web(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
	claim(t, seed, page.swarms[0].PeerID())
	hasPeers(t, seed, 1, 0)
	if err := introduce(t, page, seed); !errors.Is(err, errDuplicate) {
		t.Errorf("the offer of a peer that has just come over TCP: %v", err)
	}
	seed.connected(page.swarms[0].PeerID()).lastRead.Store(int64(-keepAliveAfter))
	if err := introduce(t, page, seed); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the download", page, page.Complete())
}
