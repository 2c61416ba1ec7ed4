package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
)

// crowd is how many connections somebody opens who means to keep others out.
const crowd = 600

// twoFilms makes a torrent of two films, of which only the first is there.
func twoFilms(t *testing.T) (root string, film []byte) {
	t.Helper()
	root = t.TempDir()
	folder := filepath.Join(root, "Films")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	film = make([]byte, 32<<20) // more than sockets hold
	for i := range film {
		film[i] = byte(i >> 12)
	}
	for name, data := range map[string][]byte{"film.mkv": film, "gone.mkv": film[:4<<20]} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	encoded, err := meta.Create(t.Context(), folder, meta.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "films.torrent"), encoded, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(folder, "gone.mkv")); err != nil {
		t.Fatal(err)
	}
	return root, film
}

// TestStreamGetsThroughACrowd: whatever hundreds of connections of its own address wait
// for, a player is served in time, and one that was served before goes on to the end.
func TestStreamGetsThroughACrowd(t *testing.T) {
	root, film := twoFilms(t)
	s := startStream(t, root, "films.torrent", "--file", "film.mkv", "--http", "127.0.0.1:0", "--token", "secret")
	link, err := url.Parse(s.event(t, "serving")["url"].(string))
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, s.lines) // a full pipe must not stop it
	head := func(method, path, more string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%s", method, path, link.Host, more)
	}
	ask := func(t *testing.T) (*http.Response, error) {
		t.Helper()
		conn, err := net.Dial("tcp", link.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(patient))
		if _, err := io.WriteString(conn, head("GET", link.RequestURI(), "\r\n")); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && res.StatusCode != http.StatusOK {
			t.Fatalf("a player got %s", res.Status)
		}
		return res, err
	}
	// play has a player read the film. Some of a crowd may be heard after it, and take its
	// place before it has got anything: it asks again, as players do.
	play := func(t *testing.T) (got []byte, err error) {
		for deadline := time.Now().Add(patient / 4); len(got) == 0 && time.Now().Before(deadline); {
			var res *http.Response
			if res, err = ask(t); err == nil {
				got, err = io.ReadAll(res.Body)
			}
		}
		return got, err
	}
	long, err := ask(t)
	if err != nil {
		t.Fatal(err)
	}
	const before = 8 << 20
	if _, err := io.CopyN(io.Discard, long.Body, before); err != nil {
		t.Fatal(err)
	}
	folder, _, _ := strings.Cut(link.Path, "/film.mkv")
	for _, kind := range []struct{ name, text string }{
		{"nothing", ""},
		{"half a header", head("GET", "/", "X-")},
		{"a body that never comes", head("POST", "/", "Content-Length: 9\r\n\r\n")},
		{"a body that never comes, with the token", head("POST", link.RequestURI(), "Content-Length: 9\r\n\r\n")},
		{"a GET's body that never comes, with the token", head("GET", link.RequestURI(), "Content-Length: 9\r\n\r\n")},
		{"chunks that never come", head("PUT", "/", "Transfer-Encoding: chunked\r\n\r\n")},
		{"a body of OPTIONS *", head("OPTIONS", "*", "Content-Length: 9\r\n\r\n")},
		{"a request without the token, kept alive", head("GET", "/", "\r\n")},
		{"a request with the token, kept alive", head("HEAD", link.RequestURI(), "\r\n")},
		{"a request for what nobody has", head("GET", folder+"/gone.mkv?"+link.RawQuery, "\r\n")},
	} {
		t.Run(kind.name, func(t *testing.T) {
			for range crowd {
				conn, err := net.Dial("tcp", link.Host)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, kind.text) // who has given way already is not written to
			}
			began := time.Now()
			if got, err := play(t); err != nil || sha256.Sum256(got) != sha256.Sum256(film) {
				t.Errorf("a player got something else than the film: %d bytes, %v", len(got), err)
			}
			if took := time.Since(began); took > patient/4 {
				t.Errorf("that took %v", took)
			}
		})
	}
	if got, err := io.ReadAll(long.Body); err != nil || sha256.Sum256(got) != sha256.Sum256(film[before:]) {
		t.Errorf("the player that came first got something else than the film: %d bytes, %v", len(got), err)
	}
}

// TestStreamIsNotForForeignPages by default, whatever they try.
func TestStreamIsNotForForeignPages(t *testing.T) {
	root, _ := filmFolder(t)
	seeder := startSeederOf(t, root, "Films")
	start := func(flags ...string) (file, playlist string) {
		s := startStream(t, t.TempDir(), append([]string{filepath.Join(root, "films.torrent"), "--peer", seeder.address, "--http", "127.0.0.1:0"}, flags...)...)
		e := s.event(t, "serving")
		return e["url"].(string), e["playlist_url"].(string)
	}
	get := func(method, url string, headers ...string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	const page = "https://site.example"
	fetch := []string{"Origin", page, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}
	embed := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "video"}
	preflight := append([]string{"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "cache-control,range,user-agent"}, fetch...)
	for _, test := range []struct {
		flags                  []string
		file, playlist, embeds int
		allow                  string
	}{
		{nil, 403, 403, 403, ""},
		{[]string{"--allow-origin", "https://another.example"}, 403, 403, 403, ""},
		{[]string{"--allow-origin", "https://another.example", "--allow-origin", page}, 200, 200, 403, page},
		{[]string{"--allow-origin", "*"}, 200, 403, 200, "*"},
	} {
		file, playlist := start(test.flags...)
		res := get("HEAD", file, fetch...)
		if res.StatusCode != test.file || res.Header.Get("Access-Control-Allow-Origin") != test.allow {
			t.Errorf("%q: a page gets a file with %s %v", test.flags, res.Status, res.Header)
		}
		if res := get("HEAD", playlist, fetch...); res.StatusCode != test.playlist {
			t.Errorf("%q: a page gets the playlist with %s", test.flags, res.Status)
		}
		if res := get("HEAD", file, embed...); res.StatusCode != test.embeds {
			t.Errorf("%q: a page embeds a file with %s", test.flags, res.Status)
		}
		res = get("OPTIONS", file, preflight...)
		if allowed := res.Header.Get("Access-Control-Allow-Headers"); res.Header.Get("Access-Control-Allow-Origin") != test.allow ||
			test.allow != "" && (!strings.Contains(allowed, "Range") || !strings.Contains(allowed, "Cache-Control") || !strings.Contains(allowed, "User-Agent")) {
			t.Errorf("%q: preflight %s %v", test.flags, res.Status, res.Header)
		}
		for _, url := range []string{file, playlist} { // players say nothing of pages
			if res := get("HEAD", url); res.StatusCode != http.StatusOK {
				t.Errorf("%q: a player gets %s", test.flags, res.Status)
			}
		}
		if res := get("HEAD", file, "Range", "bytes=0-9"); res.StatusCode != http.StatusPartialContent || res.ContentLength != 10 {
			t.Errorf("HEAD with a Range: %s, %d bytes", res.Status, res.ContentLength)
		}
	}
}
