package meta

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	hash := hashOf(t, testHash)
	path := filepath.Join("testdata", "transmission-folder.torrent")
	content := readFile(t, path)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/t.torrent":
			w.Write(content)
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			zip := gzip.NewWriter(w)
			zip.Write(content)
			zip.Close()
		case "/redirect":
			http.Redirect(w, r, "/t.torrent", http.StatusFound)
		}
	}))
	defer server.Close()
	for name, arg := range map[string]string{
		"magnet": "magnet:?xt=urn:btih:" + testHash,
		"hex":    testHash,
		"base32": "A3KA5L3NBEGYD5W72BLYB6GUK2ZTWHPW",
		"path":   path,
		"stdin":  "-",
		"URL":    server.URL + "/t.torrent",
		"gzip":   server.URL + "/gzip",
		"moved":  server.URL + "/redirect",
	} {
		source, err := Load(t.Context(), arg, bytes.NewReader(content))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if source.InfoHash() != hash || (source.Torrent == nil) == (source.Magnet == nil) {
			t.Errorf("%s: %+v", name, source)
		}
	}
}

func TestLoadFailures(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			w.Write([]byte("\n<!DOCTYPE html><html>"))
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/scheme":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/large":
			chunk := make([]byte, 1<<20)
			for range MaxTorrentSize>>20 + 1 {
				w.Write(chunk)
			}
		case "/rubbish":
			w.Write([]byte("rubbish"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	text := filepath.Join(t.TempDir(), "notes.txt")
	writeFile(t, text, []byte("notes"))
	for _, test := range []struct {
		arg, want string
		usage     bool
	}{
		{"", "empty", true},
		{"nothing.torrent", "is no file", true},
		{"1220" + strings.Repeat("0", 64), "v2-only", true},
		{"magnet:?dn=x", "no infohash", true},
		{t.TempDir(), "folder", true},
		{text, "does not look like a torrent", true},
		{"-", "standard input", true},
		{"http://", "not a valid URL", true},
		{server.URL + "/page", "web page", true},
		{server.URL + "/rubbish", "does not look like a torrent", true},
		{server.URL + "/absent", "404", true},
		{server.URL + "/large", "larger than", true},
		{server.URL + "/loop", "redirects more than 5", false},
		{server.URL + "/scheme", "no http(s) URL", false},
		{server.URL + "/busy", "503", false},
		{closed.URL, "connection refused", false},
	} {
		_, err := Load(t.Context(), test.arg, strings.NewReader("rubbish"))
		var usage *UsageError
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.As(err, &usage) != test.usage {
			t.Errorf("%q: got %v (usage: %v), want %q", test.arg, err, errors.As(err, &usage), test.want)
		}
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	arrived, done := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-done
	}))
	defer server.Close()
	defer close(done)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := Load(ctx, server.URL, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
