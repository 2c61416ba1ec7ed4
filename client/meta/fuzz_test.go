package meta

import (
	"bytes"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/bencode"
)

func seedTorrents(f *testing.F) [][]byte {
	paths, err := filepath.Glob("testdata/*.torrent")
	if err != nil || len(paths) == 0 {
		f.Fatal("no torrents in testdata")
	}
	var torrents [][]byte
	for _, path := range paths {
		torrents = append(torrents, readFile(f, path))
	}
	return torrents
}

func FuzzParseInfo(f *testing.F) {
	for _, b := range seedTorrents(f) {
		var torrent struct {
			Info bencode.Bytes `bencode:"info"`
		}
		if err := bencode.Unmarshal(b, &torrent); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(torrent.Info))
	}
	f.Add(infoOf(f, 1, nil))
	f.Add(filesOf(f, []string{"CON", "a "}, []string{"con", "A"}, []string{"a?", "\xff"}))
	f.Add([]byte("d1:x" + strings.Repeat("l", 200)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		info, err := ParseInfo(raw)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		checkInfo(t, info)
		if !bytes.Equal(info.Raw, raw) {
			t.Error("the bytes have changed")
		}
		if _, err := ParseSelection("0-"+"0,*", info); err != nil && !allPadding(info) {
			t.Error(err)
		}
	})
}

func allPadding(info *Info) bool {
	for i := range info.Files {
		if !info.Files[i].Pad {
			return false
		}
	}
	return true
}

func FuzzParseTorrent(f *testing.F) {
	for _, b := range seedTorrents(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		torrent, err := ParseTorrent(b)
		if err != nil {
			return
		}
		checkInfo(t, torrent.Info)
		magnet := torrent.Magnet()
		again, err := ParseMagnet(magnet.String())
		if err != nil || again.InfoHash != torrent.Info.InfoHash || again.Name != torrent.Info.Name || len(again.Trackers) != len(magnet.Trackers) {
			t.Errorf("magnet link %s: %+v, %v", magnet, again, err)
		}
	})
}

func FuzzParseMagnet(f *testing.F) {
	for _, link := range []string{
		"magnet:?xt=urn:btih:" + testHash,
		"magnet:?xt=urn:btih:A3KA5L3NBEGYD5W72BLYB6GUK2ZTWHPW&dn=a+b&tr=udp://t:1&x.pe=[::1]:1&so=0-3,5&ws=http://w/&xs=http://x/",
		"magnet:?xt=urn:btih:" + testHash + "&xt=urn:btmh:12200f9bf82d7122ff9ce8a7ce88edab027dd8df18c215c6324b999a51dabaeb3370",
		"magnet:?xt=urn:btih:AAAAAAAAAAAAAAAAAAAAAAAAAA======",
	} {
		f.Add(link)
	}
	f.Fuzz(func(t *testing.T, link string) {
		magnet, err := ParseMagnet(link)
		if err != nil {
			return
		}
		again, err := ParseMagnet(magnet.String())
		if err != nil || !reflect.DeepEqual(again, magnet) {
			t.Errorf("%q\nis read as  %+v\nwritten as %s\nread again %+v, %v", link, magnet, magnet, again, err)
		}
	})
}

func FuzzParseSelection(f *testing.F) {
	info, err := ParseInfo(filesOf(f, []string{"a.mkv"}, []string{"d", "b.mkv"}, []string{"d", "[c]"}))
	if err != nil {
		f.Fatal(err)
	}
	for _, list := range []string{"0", "0-2", "*.mkv", "d/", `[,\,`, "d/*", "1-0", "99999999999999999999", "a-1"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		wanted, err := ParseSelection(list, info)
		if err != nil {
			return
		}
		for _, want := range wanted {
			if want {
				return
			}
		}
		t.Errorf("%q selects nothing without an error", list)
	})
}
