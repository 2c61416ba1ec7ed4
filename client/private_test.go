package client

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anacrolix/torrent/bencode"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
)

// Private torrents leave DHT, local discovery and peer exchange alone (BEP 27). Each test
// has a public torrent beside, added once the private one is downloading, of which is seen
// what must not be seen of the other.

// sightings counts what was seen, in words.
type sightings struct {
	mu    sync.Mutex
	times map[string]int
}

func (s *sightings) add(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.times == nil {
		s.times = make(map[string]int)
	}
	s.times[what]++
}

func (s *sightings) of(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.times[what]
}

// startBoth adds the private torrent, and then the public one.
func startBoth(t *testing.T, cfg Config, private, public *meta.Torrent, privatePeers, publicPeers []string) {
	t.Helper()
	c := newClient(t, cfg)
	first := add(t, c, &meta.Source{Torrent: private}, TorrentOptions{Dir: t.TempDir(), Peers: privatePeers})
	until(t, 5*time.Second, "downloading, with its peers", func() bool {
		s := first.Stats()
		return s.State == StateDownloading && s.Peers.TCP >= len(privatePeers)
	})
	add(t, c, &meta.Source{Torrent: public}, TorrentOptions{Dir: t.TempDir(), Peers: publicPeers})
}

// dhtNode is a node of the DHT that knows nobody and writes down what it is asked for, as
// the query and the infohash.
func dhtNode(t *testing.T, seen *sightings) (addr string) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var query struct {
				T string `bencode:"t"`
				Q string `bencode:"q"`
				A struct {
					InfoHash string `bencode:"info_hash"`
				} `bencode:"a"`
			}
			if bencode.Unmarshal(b[:n], &query) != nil || query.Q == "" {
				continue
			}
			seen.add(query.Q + " " + hex.EncodeToString([]byte(query.A.InfoHash)))
			answer := map[string]string{"id": strings.Repeat("n", 20), "nodes": "", "token": "t"}
			conn.WriteTo(bencode.MustMarshal(map[string]any{"t": query.T, "y": "r", "r": answer}), from)
		}
	}()
	return conn.LocalAddr().String()
}

func TestPrivateTorrentLeavesDHTAlone(t *testing.T) {
	_, private := makePrivate(t)
	_, public := makeTorrent(t, "data.bin", 100<<10)
	var seen sightings
	cfg := plain(t)
	cfg.DisableDHT, cfg.DHTBootstrap = false, []string{dhtNode(t, &seen)}
	startBoth(t, cfg, private, public, nil, nil)
	queries := func(torrent *meta.Torrent) (looked, announced int) {
		infoHash := hex.EncodeToString(torrent.Info.InfoHash[:])
		return seen.of("get_peers " + infoHash), seen.of("announce_peer " + infoHash)
	}
	until(t, 10*time.Second, "looked up and announced twice", func() bool {
		looked, announced := queries(public)
		return looked >= 2 && announced >= 2
	})
	if looked, announced := queries(private); looked+announced > 0 {
		t.Errorf("the private torrent was looked up %d times, and announced %d times", looked, announced)
	}
}

func TestPrivateTorrentLeavesLSDAlone(t *testing.T) {
	_, private := makePrivate(t)
	_, public := makeTorrent(t, "data.bin", 100<<10)
	group := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("239.192.152.143:6771"))
	conn, err := net.ListenMulticastUDP("udp4", loopbackInterface(t), group)
	if err != nil {
		t.Skip("no multicast on this host:", err)
	}
	var seen sightings
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			for _, torrent := range []*meta.Torrent{private, public} {
				if infoHash := hex.EncodeToString(torrent.Info.InfoHash[:]); strings.Contains(string(b[:n]), infoHash) {
					seen.add(infoHash)
				}
			}
		}
	}()
	cfg := plain(t)
	cfg.DisableLSD = false
	startBoth(t, cfg, private, public, nil, nil)
	until(t, 10*time.Second, "announced", func() bool { return seen.of(hex.EncodeToString(public.Info.InfoHash[:])) > 0 })
	if n := seen.of(hex.EncodeToString(private.Info.InfoHash[:])); n > 0 {
		t.Errorf("the private torrent was announced %d times on the local network", n)
	}
}

func loopbackInterface(t *testing.T) *net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, ifi := range all {
		if ifi.Flags&net.FlagLoopback != 0 {
			return &ifi
		}
	}
	t.Skip("no loopback interface")
	return nil
}

// exchangers are two peers of a torrent that exchange peers with whoever wants, or does
// not. They tell of a third, and write down what is done to all of them.
func exchangers(t *testing.T, torrent *meta.Torrent, seen *sightings) (addrs []string) {
	const theirPEX = 9
	hidden := newScripted(t, torrent.Info.InfoHash, func(*scriptedConn) { seen.add("dialled the third") }, nil)
	message := wire.PEXMessage{Added: []wire.PEXPeer{{Addr: netip.MustParseAddrPort(hidden.addr())}}}
	hello := wire.ExtHandshake{M: map[string]byte{wire.ExtPEX: theirPEX}}
	for range 2 {
		addrs = append(addrs, newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
			c.send(wire.Message{ID: wire.Extended, Payload: hello.Encode()}, wire.Message{ID: wire.HaveNone},
				wire.Message{ID: wire.Extended, Ext: wire.OurPEX, Payload: message.Encode()})
		}, func(_ *scriptedConn, m *wire.Message) {
			switch {
			case m.ID != wire.Extended:
			case m.Ext == theirPEX:
				seen.add("sent")
			case m.Ext == 0:
				seen.add("said hello")
				if wire.DecodeExtHandshake(m.Payload).M[wire.ExtPEX] != 0 {
					seen.add("offered")
				}
			}
		}).addr())
	}
	return addrs
}

func TestPrivateTorrentLeavesPEXAlone(t *testing.T) {
	_, private := makePrivate(t)
	_, public := makeTorrent(t, "data.bin", 100<<10)
	var ofPrivate, ofPublic sightings
	startBoth(t, plain(t), private, public, exchangers(t, private, &ofPrivate), exchangers(t, public, &ofPublic))
	exchange := []string{"offered", "sent", "dialled the third"}
	for _, what := range exchange {
		until(t, 10*time.Second, what, func() bool { return ofPublic.of(what) > 0 })
		if n := ofPrivate.of(what); n > 0 {
			t.Errorf("in the private torrent, it %s %d times", what, n)
		}
	}
	if ofPrivate.of("said hello") == 0 {
		t.Error("the peers of the private torrent were not even told what there is")
	}
}
