package client

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/wire"
	"github.com/causeway-bt/causeway/wire/transport"
)

// utpOnly is quiet without TCP.
func utpOnly(t *testing.T) Config {
	cfg := quiet(t)
	cfg.DisableTCP, cfg.DisableWebRTC = true, true
	return cfg
}

// TestTransportsThatAreOn has two clients meet by what both have: by TCP if they can, else by uTP, and
// not at all if there is nothing.
func TestTransportsThatAreOn(t *testing.T) {
	type parts struct{ noTCP, noUTP bool }
	for _, test := range []struct {
		name     string
		a, b     parts
		tcp, utp int
	}{
		{"all", parts{}, parts{}, 1, 0},
		{"the seed has uTP only", parts{noTCP: true}, parts{}, 0, 1},
		{"the leech has uTP only", parts{}, parts{noTCP: true}, 0, 1},
		{"TCP only", parts{noUTP: true}, parts{}, 1, 0},
		{"nothing in common", parts{noTCP: true}, parts{noUTP: true}, 0, 0},
		{"nothing at all", parts{}, parts{noTCP: true, noUTP: true}, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			with := func(p parts) Config {
				cfg := quiet(t)
				cfg.DisableWebRTC, cfg.DisableTCP, cfg.DisableUTP = true, p.noTCP, p.noUTP
				return cfg
			}
			dir, torrent := makeTorrent(t, "data.bin", 1<<20)
			seed := add(t, newClient(t, with(test.a)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
			await(t, "the seed's check", seed, seed.Complete())
			// Somebody to stay connected with: the seed does not keep who has everything.
			leech := add(t, newClient(t, with(test.b)), &meta.Source{Torrent: torrent}, TorrentOptions{
				Dir: t.TempDir(), Limits: Limits{Down: 64 << 10}, Peers: []string{seed.client.UDPAddr().String()},
			})
			if test.tcp+test.utp == 0 {
				time.Sleep(time.Second) // in which others meet
			} else {
				until(t, 20*time.Second, "a peer", func() bool { p := leech.Stats().Peers; return p.TCP+p.UTP > 0 })
			}
			if p := leech.Stats().Peers; p.TCP != test.tcp || p.UTP != test.utp {
				t.Errorf("met by %+v, want %d by TCP and %d by uTP", p, test.tcp, test.utp)
			}
		})
	}
}

// TestDownloadOverUTPAlone has everything come by uTP, encrypted, by magnet link.
func TestDownloadOverUTPAlone(t *testing.T) {
	dir, torrent := makeTorrent(t, "data.bin", 3<<20+12345)
	encrypted := func() Config {
		cfg := utpOnly(t)
		cfg.Encryption = transport.EncryptionRequire
		return cfg
	}
	seed := add(t, newClient(t, encrypted()), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
	await(t, "the seed's check", seed, seed.Complete())
	magnet, out := torrent.Magnet(), t.TempDir()
	magnet.Peers = []string{seed.client.UDPAddr().String()}
	leech := add(t, newClient(t, encrypted()), &meta.Source{Magnet: magnet}, TorrentOptions{Dir: out})
	await(t, "the download", leech, leech.Complete())
	sameFile(t, filepath.Join(dir, "data.bin"), filepath.Join(out, "data.bin"))
}

// TestPEXTellsWhoSpeaksUTP: a peer that came by uTP is told to others as one that does, at the address
// that it came from, and who hears of one tries it so.
func TestPEXTellsWhoSpeaksUTP(t *testing.T) {
	_, torrent := makeTorrent(t, "data.bin", 64<<10)
	middle := add(t, newClient(t, quiet(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
	byTCP := add(t, newClient(t, quiet(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
	byUTP := add(t, newClient(t, utpOnly(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir()})
	for _, peer := range []*Torrent{byTCP, byUTP} {
		peer.AddPeers([]string{middle.client.UDPAddr().String()})
	}
	until(t, 20*time.Second, "both peers", func() bool { p := middle.Stats().Peers; return p.TCP == 1 && p.UTP == 1 })
	var told wire.PEXMessage
	until(t, 20*time.Second, "the peer's address", func() bool {
		_ = middle.call(func() {
			for p := range middle.loop.peers {
				if p.kind == swarm.TCP {
					clear(p.pexSent)
					told, _ = middle.pexMessage(p)
				}
			}
		})
		return len(told.Added) == 1
	})
	want := netip.MustParseAddrPort(byUTP.client.UDPAddr().String())
	if got := told.Added[0]; got.Addr != want || got.Flags&wire.PEXuTP == 0 {
		t.Errorf("told of %+v, want %v with the flag of uTP", got, want)
	}
	var heard *swarm.Candidate
	_ = byTCP.call(func() {
		for p := range byTCP.loop.peers {
			byTCP.peersExchanged(p, told)
		}
		heard = byTCP.swarms[0].Candidate(want)
	})
	if heard == nil || !heard.UTP {
		t.Errorf("the candidate is %+v, want one that speaks uTP", heard)
	}
}

// TestOwnAddress has a client told its own address, as a tracker or a peer may: it finds out at once, by
// either transport, and does not dial it again.
func TestOwnAddress(t *testing.T) {
	for name, cfg := range map[string]func(*testing.T) Config{
		"TCP": func(t *testing.T) Config {
			cfg := quiet(t)
			cfg.DisableUTP, cfg.DisableWebRTC = true, true
			return cfg
		},
		"uTP": utpOnly,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, torrent := makeTorrent(t, "data.bin", 1<<16)
			c := newClient(t, cfg(t))
			own := netip.MustParseAddrPort(c.UDPAddr().String()) // of TCP, too
			leech := add(t, c, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir(), Peers: []string{own.String()}})
			until(t, 10*time.Second, "knowing ourselves", func() bool {
				self := make(chan bool, 1)
				leech.do(func() { self <- leech.swarms[0].IsSelf(own) })
				return <-self
			})
			if p := leech.Stats().Peers; p.TCP+p.UTP != 0 {
				t.Errorf("we are a peer of ourselves: %+v", p)
			}
		})
	}
}
