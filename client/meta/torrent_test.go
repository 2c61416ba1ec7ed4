package meta

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/torrent/bencode"
)

func torrentOf(t testing.TB, changes dict) []byte {
	t.Helper()
	torrent := dict{"info": bencode.Bytes(infoOf(t, 1, nil))}
	for key, value := range changes {
		torrent[key] = value
	}
	return encode(t, torrent)
}

func TestTrackersAndSeeds(t *testing.T) {
	tests := []struct {
		name     string
		changes  dict
		trackers [][]string
		seeds    []string
		nodes    []string
	}{
		{"none", dict{}, nil, nil, nil},
		{"announce", dict{"announce": "http://a/"}, [][]string{{"http://a/"}}, nil, nil},
		{"tiers go before announce", dict{"announce": "http://a/", "announce-list": list{list{"udp://b:1", "ws://c"}, list{"wss://d"}}},
			[][]string{{"udp://b:1", "ws://c"}, {"wss://d"}}, nil, nil},
		{"empty tiers do not", dict{"announce": "http://a/", "announce-list": list{list{}, list{""}}}, [][]string{{"http://a/"}}, nil, nil},
		{"flat list", dict{"announce-list": list{"http://a/", "http://b/"}}, [][]string{{"http://a/"}, {"http://b/"}}, nil, nil},
		{"repeated, unusable and of another kind", dict{"announce-list": list{list{"http://a/", 5, "dht://", "http://a/", "file:///x"}, list{"http://a/"}, 7}},
			[][]string{{"http://a/"}}, nil, nil},
		{"kinds mixed up", dict{"announce": 5, "announce-list": "x", "url-list": 5, "nodes": "x", "comment": list{}, "creation date": "x"}, nil, nil, nil},
		{"one web seed", dict{"url-list": "http://a/"}, nil, []string{"http://a/"}, nil},
		{"web seeds", dict{"url-list": list{"http://a/", "ftp://b/", "https://c/"}}, nil, []string{"http://a/", "https://c/"}, nil},
		{"nodes", dict{"nodes": list{list{"a.example", 1}, list{"::1", 2}, list{"x", 0}, list{1}, list{}, "y"}}, nil, nil, []string{"a.example:1", "[::1]:2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			torrent, err := ParseTorrent(torrentOf(t, test.changes))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(torrent.Trackers, test.trackers) || !reflect.DeepEqual(torrent.WebSeeds, test.seeds) || !reflect.DeepEqual(torrent.Nodes, test.nodes) {
				t.Errorf("got %+v", torrent)
			}
		})
	}
}

func TestText(t *testing.T) {
	torrent, err := ParseTorrent(torrentOf(t, dict{
		"comment": "?", "comment.utf-8": "two\nlines\x1b[31m", "created by": "bad\xff", "creation date": 1_000_000_000,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if torrent.Comment != "two\nlines [31m" || torrent.CreatedBy != "bad\uFFFD" || !torrent.Created.Equal(time.Unix(1_000_000_000, 0)) {
		t.Errorf("%+v", torrent)
	}
	for _, date := range []int64{-1, 0, 1 << 62} {
		torrent, err := ParseTorrent(torrentOf(t, dict{"creation date": date}))
		if err != nil || !torrent.Created.IsZero() {
			t.Errorf("%d: %v, %v", date, torrent, err)
		}
	}
}

func TestRefusedTorrents(t *testing.T) {
	for name, test := range map[string]struct {
		raw  []byte
		want string
	}{
		"empty":          {nil, "ends in the middle"},
		"text":           {[]byte("hello"), "not a torrent"},
		"a list":         {[]byte("le"), "not a dictionary"},
		"no info":        {[]byte("d8:announce1:xe"), "no \"info\""},
		"info a string":  {[]byte("d4:info1:xe"), "not a dictionary"},
		"first info bad": {[]byte("d4:infode4:info" + string(infoOf(t, 1, nil)) + "e"), "no \"pieces\""},
		"cut off":        {torrentOf(t, nil)[:60], "not a torrent"},
		"too large":      {make([]byte, MaxTorrentSize+1), "more than"},
		"nested":         {[]byte(strings.Repeat("d1:a", 1000)), "nested deeper"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseTorrent(test.raw)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
