package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A torrent is found by whatever people paste, pipe or click, and what is left out is said.
func TestSourcesOfAllKinds(t *testing.T) {
	root := album(t)
	causeway(t, root, "create", "album", "--no-date").want(t, exitDone)
	torrent, err := os.ReadFile(filepath.Join(root, "album.torrent"))
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	zip.Write(torrent)
	zip.Close()
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(root, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	seeder := startSeederOf(t, root, "album")
	write("packed.gz", packed.Bytes())
	write("link.magnet", []byte(seeder.magnet+"\r\n"))
	write("behind.torrent", append(bytes.Clone(torrent), "rubbish"...))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/magnet":
			w.Header().Set("Location", seeder.magnet)
			w.WriteHeader(http.StatusSeeOther)
		case r.URL.Path == "/body":
			w.Write([]byte(seeder.magnet))
		case r.URL.RawQuery == "name=the%20album":
			w.Write(packed.Bytes())
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	hash := strings.TrimPrefix(seeder.magnet, "magnet:?xt=urn:btih:")[:40]
	for name, test := range map[string]struct{ source, stdin string }{
		"blanks around a path":       {source: " album.torrent\n"},
		"bytes behind":               {source: "behind.torrent"},
		"gzipped":                    {source: "packed.gz"},
		"gzipped, on standard input": {source: "-", stdin: packed.String()},
		"file URL":                   {source: "file://" + filepath.ToSlash(filepath.Join(root, "album.torrent"))},
		"URL with a blank":           {source: server.URL + "/?name=the album"},
		"URL of a magnet link":       {source: server.URL + "/magnet"},
		"URL of a text":              {source: server.URL + "/body"},
		"magnet link in a file":      {source: "link.magnet"},
		"magnet link on stdin":       {source: "-", stdin: "\n" + seeder.magnet + "\n"},
		"broken second topic":        {source: seeder.magnet + "&xt=urn:btih:123"},
		"infohash with blanks":       {source: " " + hash + "\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, root, append([]string{"info", test.source, "--json", "--peer", seeder.address}, loopback...)...)
			cmd.Stdin = strings.NewReader(test.stdin)
			r := finishCommand(t, cmd).want(t, exitDone)
			if e := r.one(t, "torrent"); e["infohash"] != hash {
				t.Errorf("infohash %v, want %s", e["infohash"], hash)
			}
			warned := strings.Contains(r.stdout, `"event":"warning"`)
			if want := name == "broken second topic"; warned != want {
				t.Errorf("warned: %v, want %v\n%s", warned, want, r.stdout)
			}
		})
	}
}

// A magnet link whose torrent nobody has names where its .torrent is.
func TestMagnetNamesItsTorrent(t *testing.T) {
	root := album(t)
	e := causeway(t, root, "create", "album", "--no-date", "--no-web-trackers", "--json").want(t, exitDone).one(t, "torrent")
	server := httptest.NewServer(http.FileServer(http.Dir(root)))
	defer server.Close()
	for _, key := range []string{"xs", "as"} {
		t.Run(key, func(t *testing.T) {
			link := fmt.Sprintf("magnet:?xt=urn:btih:%s&%s=%s/album.torrent", e["infohash"], key, server.URL)
			r := causeway(t, t.TempDir(), append([]string{"info", link, "--json"}, loopback...)...).want(t, exitDone)
			if files := r.one(t, "torrent")["files"].([]any); len(files) != 3 {
				t.Errorf("%d files", len(files))
			}
		})
	}
}

func TestDroppedTrackersAreSaid(t *testing.T) {
	root := album(t)
	causeway(t, root, "create", "album", "--no-date", "--no-web-trackers", "--tracker", "udp://good.example:1").want(t, exitDone)
	path := filepath.Join(root, "album.torrent")
	torrent, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torrent = bytes.Replace(torrent, []byte("8:announce20:udp://good.example:1"), []byte("8:announce20: udp://good.exam:1\r\n"), 1)
	torrent = append(torrent[:len(torrent)-1], "13:announce-listll23: udp://good.example:1\r\nel9:rubbish!!eee"...)
	if err := os.WriteFile(path, torrent, 0o644); err != nil {
		t.Fatal(err)
	}
	e := causeway(t, root, "info", "album.torrent", "--json").want(t, exitDone)
	if warning := e.one(t, "warning")["message"]; warning == nil || !strings.Contains(warning.(string), `"rubbish!!" is left out`) {
		t.Errorf("warning %v", warning)
	}
	if magnet := e.one(t, "torrent")["magnet"].(string); !strings.HasSuffix(magnet, "&tr=udp%3A%2F%2Fgood.example%3A1") {
		t.Errorf("magnet link %s", magnet)
	}
}

// Indices of a magnet link that the torrent does not have select nothing, and hinder nothing.
func TestSelectionOfMagnetLinks(t *testing.T) {
	root := album(t)
	seeder := startSeederOf(t, root, "album")
	for list, want := range map[string]int{"1,7-9": 1, "9": 3, "1-99": 2} {
		out := t.TempDir()
		causeway(t, out, append([]string{"download", seeder.magnet + "&so=" + list, "--peer", seeder.address}, loopback...)...).want(t, exitDone)
		found := 0
		for _, name := range []string{"one.txt", "two.txt", "more/three.txt"} {
			if _, err := os.Stat(filepath.Join(out, "album", name)); err == nil {
				found++
			}
		}
		if found != want {
			t.Errorf("so=%s: %d files, want %d", list, found, want)
		}
	}
}
