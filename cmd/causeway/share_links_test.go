package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/letsencrypt/pebble/v2/wfe"
)

func TestShareLinks(t *testing.T) {
	public, err := url.Parse("https://share.example/")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, bound string
		flags       shareFlags
		secure      bool
		names       []string
		want        shareLinks
	}{
		{name: "this machine", bound: "127.0.0.1:8080",
			want: shareLinks{main: "http://127.0.0.1:8080/", local: "http://127.0.0.1:8080/"}},
		{name: "a private address", bound: "192.168.7.2:8080",
			want: shareLinks{main: "http://192.168.7.2:8080/", lan: "http://192.168.7.2:8080/", guessed: true}},
		{name: "a public one", bound: "203.0.113.1:80",
			want: shareLinks{main: "http://203.0.113.1/", lan: "http://203.0.113.1/"}},
		{name: "a public one of IPv6 with TLS", bound: "[2001:db8::1]:443", secure: true,
			want: shareLinks{main: "https://[2001:db8::1]/", lan: "https://[2001:db8::1]/"}},
		{name: "a domain of its certificate", bound: "192.168.7.2:443", secure: true, names: []string{"films.example"},
			want: shareLinks{main: "https://films.example/", lan: "https://192.168.7.2/"}},
		{name: "an address of its certificate", bound: "192.168.7.2:8443", secure: true, names: []string{"2001:db8::1"},
			want: shareLinks{main: "https://[2001:db8::1]:8443/", lan: "https://192.168.7.2:8443/"}},
		{name: "--public-url", bound: "192.168.7.2:8080", flags: shareFlags{public: public},
			want: shareLinks{main: "https://share.example/", lan: "http://192.168.7.2:8080/"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr, err := net.ResolveTCPAddr("tcp", test.bound)
			if err != nil {
				t.Fatal(err)
			}
			if got := findLinks(&test.flags, addr, test.secure, test.names); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
	every := &net.TCPAddr{IP: net.IPv4zero, Port: 8080}
	for _, only := range []bool{false, true} {
		want := map[bool]string{false: "http://localhost:8080/", true: "https://localhost:8080/"}[only]
		if got := findLinks(&shareFlags{tls: tlsFlags{only: only}}, every, true, nil); got.local != want || got.main == "" {
			t.Errorf("--tls-only %v: got %+v", only, got)
		}
	}
}

// TestSharePortTaken: the engine does not start, and all else ends in good order.
func TestSharePortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	content := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(content, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := causeway(t, t.TempDir(), "share", content, "--port", strconv.Itoa(portOf(taken.Addr())), "--http", "127.0.0.1:0", "--listen", "127.0.0.1", "--no-dht", "--no-lsd").want(t, exitFailed)
	if !strings.Contains(r.stderr, "in use") || strings.Contains(r.stderr, "goroutine") {
		t.Errorf("it said %q", r.stderr)
	}
}

// TestShareACME has a share get its certificate by itself; the challenge is answered at its own
// port.
func TestShareACME(t *testing.T) {
	port := freePort(t)
	authority := startAuthority(t, port)
	content := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(content, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, t.TempDir(), "share", content, "--listen", "127.0.0.1", "--port", "0", "--http", "127.0.0.1:"+port, "--no-dht", "--no-lsd", "--no-webrtc",
		"--acme", "127.0.0.1", "--acme-ca", authority.URL+wfe.DirectoryPath, "--acme-folder", t.TempDir(), "--acme-tls-port", port)
	cmd.Env = append(cmd.Env, authority.trust...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	address := "127.0.0.1:" + port
	trustedCertificate(t, address, "127.0.0.1", authority.roots)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.roots}, DisableKeepAlives: true}}
	response, err := client.Get("https://" + address + "/share.json")
	if err != nil {
		t.Fatal(err)
	}
	if body := readAll(t, response.Body); response.StatusCode != http.StatusOK || !strings.Contains(body, "wss://"+address) {
		t.Errorf("%s: %s", response.Status, body)
	}
}
