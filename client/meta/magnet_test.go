package meta

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/metainfo"
)

const testHash = "06d40eaf6d090d81f6dfd05780f8d456b33b1df6"

func hashOf(t testing.TB, digits string) (hash [20]byte) {
	t.Helper()
	if _, err := hex.Decode(hash[:], []byte(digits)); err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestParseMagnet(t *testing.T) {
	v2 := &[32]byte{}
	hex.Decode(v2[:], []byte("0f9bf82d7122ff9ce8a7ce88edab027dd8df18c215c6324b999a51dabaeb3370"))
	tests := []struct {
		name, link string
		want       Magnet
	}{
		{"bare", "magnet:?xt=urn:btih:" + testHash, Magnet{}},
		{"upper case", "MAGNET:?XT=URN:BTIH:" + strings.ToUpper(testHash), Magnet{}},
		{"base32", "magnet:?xt=urn:btih:A3KA5L3NBEGYD5W72BLYB6GUK2ZTWHPW", Magnet{}},
		{"base32 in lower case", "magnet:?xt=urn:btih:a3ka5l3nbegyd5w72blyb6guk2ztwhpw", Magnet{}},
		{
			"transmission-show 3.00",
			"magnet:?xt=urn:btih:" + testHash + "&dn=Band%20Demo&tr=http%3A%2F%2Ftracker.example%2Fannounce&tr=udp%3A%2F%2Ftracker2.example%3A6969",
			Magnet{Name: "Band Demo", Trackers: []string{"http://tracker.example/announce", "udp://tracker2.example:6969"}},
		},
		{
			"libtorrent 2.0.8, hybrid, in lower-case escapes",
			"magnet:?xt=urn:btih:" + testHash + "&xt=urn:btmh:12200f9bf82d7122ff9ce8a7ce88edab027dd8df18c215c6324b999a51dabaeb3370&dn=Band%20Demo&tr=http%3a%2f%2fa.example%2fannounce&tr=wss%3a%2f%2fb.example",
			Magnet{InfoHashV2: v2, Name: "Band Demo", Trackers: []string{"http://a.example/announce", "wss://b.example"}},
		},
		{
			"webtorrent.io, with plus for space",
			"magnet:?xt=urn:btih:" + testHash + "&dn=Big+Buck+Bunny&tr=wss%3A%2F%2Ftracker.btorrent.xyz&ws=https%3A%2F%2Fwebtorrent.io%2Ftorrents%2F&xs=https%3A%2F%2Fwebtorrent.io%2Ftorrents%2Fbig-buck-bunny.torrent",
			Magnet{
				Name: "Big Buck Bunny", Trackers: []string{"wss://tracker.btorrent.xyz"},
				WebSeeds: []string{"https://webtorrent.io/torrents/"},
				Sources:  []string{"https://webtorrent.io/torrents/big-buck-bunny.torrent"},
			},
		},
		{
			"peers and selection",
			"magnet:?xt=urn:btih:" + testHash + "&x.pe=127.0.0.1:6881&x.pe=%5B::1%5D:2&x.pe=host.example:3&so=0,2,4-6",
			Magnet{Peers: []string{"127.0.0.1:6881", "[::1]:2", "host.example:3"}, Select: "0,2,4-6"},
		},
		{
			"unusable values are left out",
			"magnet:?xt=urn:btih:" + testHash + "&xt=urn:sha1:xyz&tr=&tr=javascript:x&tr=http://&tr=http://a/%250a&tr=http://a/\n&x.pe=1.2.3.4&x.pe=a:0&x.pe=a:70000&so=*.mkv&ws=ftp://x/&dn=a%0ab&=&&%zz=1",
			Magnet{Name: "a b", Trackers: []string{"http://a/%0a", "http://a/"}},
		},
		{"pasted from a web page", " magnet:?xt=urn:btih:" + testHash + "&amp;dn=x&amp;tr.1=udp://t:1\n", Magnet{Name: "x", Trackers: []string{"udp://t:1"}}},
		{"a tracker named twice", "magnet:?xt=urn:btih:" + testHash + "&tr=udp://t:1&tr=udp://t:1", Magnet{Trackers: []string{"udp://t:1"}}},
		{"broken escape", "magnet:?xt=urn:btih:" + testHash + "&dn=100%", Magnet{Name: "100%"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.want.InfoHash = hashOf(t, testHash)
			got, err := ParseMagnet(test.link)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*got, test.want) {
				t.Errorf("got  %+v\nwant %+v", *got, test.want)
			}
			again, err := ParseMagnet(got.String())
			if err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("%s is read as %+v, %v", got, again, err)
			}
		})
	}
}

func TestRefusedMagnets(t *testing.T) {
	for link, want := range map[string]string{
		"":                            "does not start",
		"http://x":                    "does not start",
		"magnet:":                     "no infohash",
		"magnet:?dn=x":                "no infohash",
		"magnet:?xt=urn:btih:":        "neither 40",
		"magnet:?xt=urn:btih:" + "zz": "neither 40",
		"magnet:?xt=urn:btih:" + strings.Repeat("g", 40): "neither 40",
		// Padding makes these 32 digits fewer than 20 bytes.
		"magnet:?xt=urn:btih:" + strings.Repeat("A", 26) + "======":                             "neither 40",
		"magnet:?xt=urn:btih:" + testHash + "&xt=urn:btih:" + strings.Repeat("0", 40):           "two different",
		"magnet:?xt=urn:btmh:1220" + strings.Repeat("0", 64):                                    "v2-only",
		"magnet:?xt=urn:btmh:1220" + strings.Repeat("0", 62):                                    "multihash",
		"magnet:?xt=urn:btmh:1114" + strings.Repeat("0", 64):                                    "multihash",
		"magnet:?xt=urn:btih:" + testHash + "&dn=" + strings.Repeat("x", maxMagnet):             "more than",
		"magnet:?xt=urn:btih:" + strings.Repeat("\x1b", 40) + "&dn=" + strings.Repeat("x", 100): "neither 40",
	} {
		_, err := ParseMagnet(link)
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%.60q: got %v, want %q", link, err, want)
		}
	}
	if _, err := ParseMagnet("magnet:?xt=urn:btmh:1220" + strings.Repeat("0", 64)); !errors.Is(err, ErrV2Only) {
		t.Errorf("got %v", err)
	}
}

func TestMagnetLists(t *testing.T) {
	link := "magnet:?xt=urn:btih:" + testHash + strings.Repeat("&x.pe=1.2.3.4:5", 10000)
	for i := range 10000 {
		link += "&tr=udp://t" + strings.Repeat("x", i%7) + ":" + string(rune('1'+i%9)) + "/" + hex.EncodeToString([]byte{byte(i >> 8), byte(i)})
	}
	m, err := ParseMagnet(link)
	if err != nil || len(m.Peers) != maxPeers || len(m.Trackers) != maxTrackers {
		t.Errorf("%d peers, %d trackers, %v", len(m.Peers), len(m.Trackers), err)
	}
}

func TestMagnetString(t *testing.T) {
	m := Magnet{
		InfoHash: hashOf(t, testHash), Name: "a b+c & d=ü",
		Trackers: []string{"udp://t:1"}, WebSeeds: []string{"http://w/"},
		Peers: []string{"[::1]:6881"}, Select: "0,3-7",
	}
	want := "magnet:?xt=urn:btih:" + testHash + "&dn=a%20b%2Bc%20%26%20d%3D%C3%BC&tr=udp%3A%2F%2Ft%3A1&ws=http%3A%2F%2Fw%2F&x.pe=[::1]:6881&so=0,3-7"
	if got := m.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	theirs, err := metainfo.ParseMagnetUri(m.String())
	if err != nil || theirs.DisplayName != m.Name || theirs.InfoHash != m.InfoHash || !reflect.DeepEqual(theirs.Trackers, m.Trackers) {
		t.Errorf("another program reads %+v, %v", theirs, err)
	}
}

func TestMagnetOfTorrent(t *testing.T) {
	torrent, err := ParseTorrent(readFile(t, filepath.Join("testdata", "transmission-folder.torrent")))
	if err != nil {
		t.Fatal(err)
	}
	// What transmission-show -m prints for it.
	want := "magnet:?xt=urn:btih:" + testHash + "&dn=Band%20Demo&tr=http%3A%2F%2Ftracker.example%2Fannounce&tr=udp%3A%2F%2Ftracker2.example%3A6969"
	if got := torrent.Magnet().String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
