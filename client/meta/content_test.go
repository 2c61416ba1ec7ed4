package meta

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/bencode"
)

func gzipped(content []byte) []byte {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	zip.Write(content)
	zip.Close()
	return b.Bytes()
}

// A source is found whatever is around it, and whatever kind of thing it leads to.
func TestLenientSources(t *testing.T) {
	hash, magnet := hashOf(t, testHash), "magnet:?xt=urn:btih:"+testHash+"&dn=x"
	content := readFile(t, filepath.Join("testdata", "transmission-folder.torrent"))
	folder := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(folder, name)
		writeFile(t, path, content)
		return path
	}
	plain := file("a b%.torrent", content)
	fileURL := func(path string) string { return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String() }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/magnet":
			w.Header().Set("Location", magnet)
			w.WriteHeader(http.StatusFound)
		case "/magnet body":
			w.Write([]byte("\n" + magnet + "\r\n"))
		case "/gzip":
			w.Write(gzipped(content))
		case "/gzip magnet":
			w.Write(gzipped([]byte(magnet)))
		case "/query":
			if r.URL.RawQuery != "name=a%20b&c" {
				t.Errorf("query %q", r.URL.RawQuery)
			}
			w.Write(content)
		case "/login":
			if user, password, ok := r.BasicAuth(); !ok || user != "me" || password != "secret" {
				w.WriteHeader(http.StatusUnauthorized)
			}
			w.Write(content)
		}
	}))
	defer server.Close()
	for name, test := range map[string]struct{ arg, stdin string }{
		"blanks around an infohash":      {arg: " \t" + testHash + "\r\n"},
		"blanks around base32":           {arg: "A3KA5L3NBEGYD5W72BLYB6GUK2ZTWHPW\n"},
		"blanks around a magnet link":    {arg: "\r\n" + magnet + " "},
		"line breaks in a magnet link":   {arg: "magnet:?xt=urn:btih:" + testHash[:20] + "\r\n\t" + testHash[20:] + "&dn=x"},
		"blanks around a path":           {arg: " " + plain + "\n"},
		"blanks around a URL":            {arg: "\t" + server.URL + "/gzip\n"},
		"blank in a query":               {arg: server.URL + "/query?name=a b&c"},
		"scheme in capitals":             {arg: strings.Replace(server.URL, "http", "HTTP", 1) + "/gzip"},
		"login":                          {arg: strings.Replace(server.URL, "://", "://me:secret@", 1) + "/login"},
		"file URL":                       {arg: fileURL(plain)},
		"file URL with a host":           {arg: strings.Replace(fileURL(plain), "file://", "file://localhost", 1)},
		"file URL, not escaped":          {arg: "FILE://" + strings.ReplaceAll(fileURL(plain)[len("file://"):], "%20", " ")},
		"gzipped file":                   {arg: file("x.torrent.gz", gzipped(content))},
		"gzipped with rubbish behind":    {arg: file("y.gz", append(gzipped(content), "rubbish"...))},
		"file with a magnet link":        {arg: file("x.magnet", []byte(magnet+"\n"))},
		"file with a mark before":        {arg: file("y.magnet", []byte("\xef\xbb\xbf \n"+magnet+"\n"))},
		"file with an infohash":          {arg: file("hash.txt", []byte(testHash+"\n"))},
		"bytes behind the torrent":       {arg: file("behind.torrent", append(slices.Clone(content), "GARBAGE \x00"...))},
		"redirect to a magnet link":      {arg: server.URL + "/magnet"},
		"body with a magnet link":        {arg: server.URL + "/magnet%20body"},
		"gzipped body":                   {arg: server.URL + "/gzip"},
		"gzipped body with a magnet":     {arg: server.URL + "/gzip magnet"},
		"magnet link on standard input":  {arg: "-", stdin: magnet + "\n"},
		"infohash on standard input":     {arg: "-", stdin: " " + testHash + "\n"},
		"gzip on standard input":         {arg: "-", stdin: string(gzipped(content))},
		"blanks around standard input's": {arg: " - ", stdin: string(content)},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := Load(t.Context(), test.arg, strings.NewReader(test.stdin))
			if err != nil {
				t.Fatal(err)
			}
			if source.InfoHash() != hash || (source.Torrent == nil) == (source.Magnet == nil) || len(source.Warnings) > 0 {
				t.Errorf("%+v", source)
			}
		})
	}
	if runtime.GOOS != "windows" {
		named := filepath.Join(folder, "name ")
		if err := os.Rename(plain, named); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(t.Context(), named, nil); err != nil {
			t.Errorf("a file with a blank at the end of its name: %v", err)
		}
	}
}

func TestRefusedContent(t *testing.T) {
	folder := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(folder, name)
		writeFile(t, path, content)
		return path
	}
	large := file("film.mkv", nil)
	if err := os.Truncate(large, MaxTorrentSize+1); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ arg, want string }{
		{file("bomb.gz", gzipped(make([]byte, MaxTorrentSize+1))), "unpacked"},
		{file("cut.gz", gzipped(make([]byte, 1<<20))[:100]), "cannot be unpacked"},
		{file("twice.gz", gzipped(gzipped([]byte("x")))), "does not look like a torrent"},
		{file("bad.magnet", []byte("magnet:?dn=x")), "no infohash"},
		{large, "does not look like a torrent"},
		{"file://elsewhere/x.torrent", "not the URL of a file"},
		{"file:", "not the URL of a file"},
		{" \t", "empty"},
		{"-", "there is none"},
	} {
		if _, err := Load(t.Context(), test.arg, nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %q", test.arg, err, test.want)
		}
	}
}

// What is left out of a source is said; what is only untidy is put right.
func TestWarnings(t *testing.T) {
	many := list{}
	for i := range maxTrackers + 20 {
		many = append(many, list{"udp://t" + strings.Repeat("x", i%50) + ":" + string(rune('1'+i%9)) + "/" + strings.Repeat("y", i/50)})
	}
	path := filepath.Join(t.TempDir(), "x.torrent")
	for _, test := range []struct {
		name     string
		magnet   string
		torrent  dict
		trackers []string
		warnings []string // a part of each
	}{
		{name: "blanks", torrent: dict{"announce": " \thttp://a/x?y=a b\r\n"}, trackers: []string{"http://a/x?y=a%20b"}},
		{name: "blanks in tiers", torrent: dict{"announce-list": list{list{"http://a/\n", "\r\nudp://b:1 "}, list{" http://a/"}}}, trackers: []string{"http://a/", "udp://b:1"}},
		{name: "several in one", torrent: dict{"announce": "http://a/\nhttp://b/"}, trackers: []string{"http://a/", "http://b/"}},
		{name: "unusable", torrent: dict{"announce-list": list{list{"dht://x", "http://a/", "rubbish", ""}}}, trackers: []string{"http://a/"}, warnings: []string{`"dht://x" is left out`, `"rubbish" is left out`}},
		{name: "too long", torrent: dict{"announce": "http://a/" + strings.Repeat("x", maxURL)}, warnings: []string{"is left out"}},
		{name: "too many", torrent: dict{"announce-list": many}, trackers: make([]string, maxTrackers), warnings: slices.Concat(slices.Repeat([]string{"one too many"}, maxWarnings), []string{"12 more trackers"})},
		{name: "in a magnet link", magnet: "&tr=%20udp://a:1%0A&tr=x://y&tr=http://b/a b", trackers: []string{"udp://a:1", "http://b/a%20b"}, warnings: []string{`"x://y" is left out`}},
		{name: "a broken topic", magnet: "&xt=urn:btih:abc&xt=urn:btmh:1220", warnings: []string{"neither 40", "multihash"}},
		{name: "blanks around topics", magnet: "&xt=%20urn:btih:" + testHash + "%20"},
	} {
		t.Run(test.name, func(t *testing.T) {
			arg := path
			if test.torrent != nil {
				writeFile(t, path, torrentOf(t, test.torrent))
			} else {
				arg = "magnet:?xt=urn:btih:" + testHash + test.magnet
			}
			source, err := Load(t.Context(), arg, nil)
			if err != nil {
				t.Fatal(err)
			}
			var trackers []string
			if source.Torrent != nil {
				trackers = slices.Concat(source.Torrent.Trackers...)
			} else {
				trackers = source.Magnet.Trackers
			}
			if test.name == "too many" {
				if len(trackers) != len(test.trackers) {
					t.Errorf("%d trackers", len(trackers))
				}
			} else if !slices.Equal(trackers, test.trackers) {
				t.Errorf("trackers %q", trackers)
			}
			if len(source.Warnings) != len(test.warnings) {
				t.Fatalf("warnings %q", source.Warnings)
			}
			for i, want := range test.warnings {
				if !strings.Contains(source.Warnings[i], want) || strings.Contains(source.Warnings[i], "\n") {
					t.Errorf("warning %q, want %q", source.Warnings[i], want)
				}
			}
		})
	}
}

func TestWhatStrangersNameIsKeptApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.torrent")
	writeFile(t, path, torrentOf(t, dict{"nodes": list{list{" router.example\n", 6881}}}))
	source, err := Load(t.Context(), path, nil)
	if err != nil || !slices.Equal(source.Nodes(), []string{"router.example:6881"}) || source.Peers() != nil {
		t.Errorf("%+v, %v", source, err)
	}
	source, err = Load(t.Context(), "magnet:?xt=urn:btih:"+testHash+"&x.pe=%2010.0.0.1:5%20", nil)
	if err != nil || !slices.Equal(source.Peers(), []string{"10.0.0.1:5"}) || source.Nodes() != nil {
		t.Errorf("%+v, %v", source, err)
	}
}

// The first of double keys counts, and the infohash is over the bytes as they are: so
// do libtorrent 2.0.8 and Transmission 3.00.
func TestOddTorrents(t *testing.T) {
	info, other := infoOf(t, 1, dict{"name": "first"}), infoOf(t, 2, dict{"name": "second"})
	want, err := ParseInfo(info)
	if err != nil {
		t.Fatal(err)
	}
	text := func(b []byte) string { return string(b) }
	for name, raw := range map[string]string{
		"two infos":           "d4:info" + text(info) + "4:info" + text(other) + "e",
		"two trackers":        "d8:announce10:http://a/x8:announce10:http://b/x4:info" + text(info) + "e",
		"bytes behind":        "d4:info" + text(info) + "e\x00\x00rubbish",
		"unsorted, zeros":     "d4:info" + text(info) + "8:announce010:http://a/x13:creation datei007ee",
		"keys nobody knows":   "d1:zd1:yli-0eee4:info" + text(info) + "0:0:e",
		"odd kinds of values": "d8:announcele4:info" + text(info) + "5:nodesi7e8:url-listdee",
	} {
		torrent, err := ParseTorrent([]byte(raw))
		if err != nil || torrent.Info.InfoHash != want.InfoHash {
			t.Errorf("%s: %+v, %v", name, torrent, err)
		}
		if name == "two trackers" && !slices.Equal(torrent.Trackers[0], []string{"http://a/x"}) {
			t.Errorf("%s: %q", name, torrent.Trackers)
		}
	}
	twice := strings.Replace(text(info), "4:name5:first", "4:name5:first4:name6:second", 1)
	if got, err := ParseInfo([]byte(twice)); err != nil || got.Name != "first" || got.InfoHash == want.InfoHash {
		t.Errorf("two names: %+v, %v", got, err)
	}
	files := infoOf(t, 2, dict{"length": nil, "files": bencode.Bytes("ld6:lengthi01e6:lengthi7e4:pathl1:ae4:pathl1:bee" + "d6:lengthi1e4:pathl3:dir0:eee")})
	if got, err := ParseInfo(files); err != nil || got.Files[0].DisplayPath() != "a" || got.Files[1].DisplayPath() != "dir" || got.Length != 2 {
		t.Errorf("two paths: %+v, %v", got, err)
	}
}

func TestSelectOnly(t *testing.T) {
	info, err := ParseInfo(infoOf(t, 4, dict{"length": nil, "files": list{
		dict{"path": list{"a"}, "length": 1}, dict{"path": list{"b"}, "length": 1},
		dict{"path": list{".pad"}, "length": 1, "attr": "p"}, dict{"path": list{"c"}, "length": 1},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	for list, want := range map[string]string{
		"0": "1000", "0,9": "1000", "1-99": "0101", "9,3": "0001", "9": "1101", "3-1": "1101", "": "1101", "2": "1101",
		"0-1,1,99999999999999999999": "1100", "-": "1101",
	} {
		got := ""
		for _, wanted := range SelectOnly(list, info) {
			got += map[bool]string{true: "1", false: "0"}[wanted]
		}
		if got != want {
			t.Errorf("%q: %s, want %s", list, got, want)
		}
	}
}
