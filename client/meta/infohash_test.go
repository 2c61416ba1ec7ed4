package meta

import (
	"crypto/sha1"
	"crypto/sha256"
	"path/filepath"
	"testing"
)

func TestInfoHashes(t *testing.T) {
	hybrids, err := filepath.Glob("testdata/*hybrid*.torrent")
	if err != nil || len(hybrids) == 0 {
		t.Fatalf("no hybrid torrents: %v", err)
	}
	torrent, err := ParseTorrent(readFile(t, hybrids[0]))
	if err != nil {
		t.Fatal(err)
	}
	v1, v2 := sha1.Sum(torrent.Info.Raw), sha256.Sum256(torrent.Info.Raw)
	for _, source := range []*Source{{Torrent: torrent}, {Magnet: torrent.Magnet()}} {
		hashes := source.InfoHashes()
		if *hashes.V1 != v1 || hashes.V2 == nil || *hashes.V2 != v2 {
			t.Errorf("%+v", hashes)
		}
		if swarms := hashes.Swarms(); len(swarms) != 2 || swarms[0] != v1 || swarms[1] != [20]byte(v2[:20]) {
			t.Errorf("swarms %x", swarms)
		}
	}
	info, err := ParseInfo(infoOf(t, 40000, nil))
	if err != nil {
		t.Fatal(err)
	}
	if swarms := info.InfoHashes().Swarms(); len(swarms) != 1 || swarms[0] != info.InfoHash || info.NumPieces() != 3 {
		t.Errorf("v1 alone: swarms %x, %d pieces", swarms, info.NumPieces())
	}
}
