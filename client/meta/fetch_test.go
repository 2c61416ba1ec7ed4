package meta

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// fakeInternet is a network on which one server has all addresses. What a name stands for
// may change from one question to the next.
type fakeInternet struct {
	Network
	server *httptest.Server
	names  map[string][][]string

	mu      sync.Mutex
	asked   map[string]int
	reached []string
}

func (f *fakeInternet) HTTPTransport() *http.Transport { return &http.Transport{} }

func (f *fakeInternet) LookupNetIP(_ context.Context, _, host string) (addrs []netip.Addr, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	answers := f.names[host]
	if answers == nil {
		return nil, fmt.Errorf("no such host: %s", host)
	}
	for _, text := range answers[min(f.asked[host], len(answers)-1)] {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	f.asked[host]++
	return addrs, nil
}

func (f *fakeInternet) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err != nil {
		addrs, err := f.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, err
		}
		host = addrs[0].String()
	}
	f.mu.Lock()
	f.reached = append(f.reached, host)
	f.mu.Unlock()
	conn, err := f.Network.DialContext(ctx, network, f.server.Listener.Addr().String())
	return remoteConn{conn, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(net.JoinHostPort(host, port)))}, err
}

type remoteConn struct {
	net.Conn
	remote net.Addr
}

func (c remoteConn) RemoteAddr() net.Addr { return c.remote }

func newFakeInternet(t *testing.T, handler http.HandlerFunc) *fakeInternet {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return &fakeInternet{Network: orPlain(nil), server: server, asked: make(map[string]int), names: map[string][][]string{
		"outside.example": {{"93.184.216.34"}},
		"inside.example":  {{"192.168.1.1"}},
		"mixed.example":   {{"127.0.0.1", "93.184.216.34"}},
		"rebind.example":  {{"93.184.216.34"}, {"127.0.0.1"}},
		"six.example":     {{"fd00::1"}},
	}}
}

// Strangers may not send us to programs that listen inside; who types a URL may go anywhere.
func TestWhatStrangersNameDoesNotReachIn(t *testing.T) {
	content := readFile(t, filepath.Join("testdata", "transmission-folder.torrent"))
	redirects := map[string]string{
		"/in":      "http://127.0.0.1/x.torrent",
		"/in6":     "http://[::1]/x.torrent",
		"/mapped":  "http://[::ffff:127.0.0.1]/x.torrent",
		"/zero":    "http://0.0.0.0/x.torrent",
		"/lan":     "http://inside.example/x.torrent",
		"/cgnat":   "http://100.64.0.1/x.torrent",
		"/link":    "http://169.254.169.254/x.torrent",
		"/out":     "http://outside.example/x.torrent",
		"/mixed":   "http://mixed.example/x.torrent",
		"/rebind":  "http://rebind.example/again.torrent",
		"/order":   "http://192.168.1.1/x.torrent?reboot=1",
		"/twice":   "http://outside.example/in",
		"/file":    "file:///etc/passwd",
		"/deeper":  "http://127.0.0.1/x.torrent",
		"/blank":   "http://outside.example/a b.torrent",
		"/sideway": "http://10.0.0.7/x",
	}
	for _, test := range []struct {
		name, url string
		stranger  bool
		works     bool
	}{
		{"outside", "http://outside.example/x.torrent", true, true},
		{"outside, with a query", "http://outside.example/get?id=3", true, true},
		{"outside to outside", "http://outside.example/out", true, true},
		{"a name of an address inside and one outside", "http://mixed.example/x", true, true},
		{"an address here, a file", "http://127.0.0.1/x.torrent", true, true},
		{"the local network, a file", "http://inside.example/x.torrent", true, true},
		{"an address here, no file", "http://127.0.0.1/x", true, false},
		{"an address here, with a query", "http://127.0.0.1/x.torrent?a=b", true, false},
		{"an address here, with an empty query", "http://127.0.0.1/x.torrent?", true, false},
		{"the local network, no file", "http://inside.example/order", true, false},
		{"IPv6 of the local network, no file", "http://six.example/order", true, false},
		{"unspecified address, no file", "http://0.0.0.0/order", true, false},
		{"outside to here", "http://outside.example/in", true, false},
		{"outside to here by IPv6", "http://outside.example/in6", true, false},
		{"outside to here, mapped", "http://outside.example/mapped", true, false},
		{"outside to the local network", "http://outside.example/lan", true, false},
		{"outside to a provider's network", "http://outside.example/cgnat", true, false},
		{"outside to the link", "http://outside.example/link", true, false},
		{"outside twice, then here", "http://outside.example/twice", true, false},
		{"a name that changes", "http://rebind.example/rebind", true, false},

		{"typed: here, no file", "http://127.0.0.1/x?a=b", false, true},
		{"typed: the local network", "http://inside.example/get?x", false, true},
		{"typed: outside to outside", "http://outside.example/out", false, true},
		{"typed: outside to a blank", "http://outside.example/blank", false, true},
		{"typed: here to here", "http://127.0.0.1/in", false, true},
		{"typed: inside to inside", "http://inside.example/sideway", false, true},
		{"typed: here to the local network", "http://127.0.0.1/order", false, true},
		{"typed: inside to here", "http://inside.example/deeper", false, false},
		{"typed: outside to here", "http://outside.example/in", false, false},
		{"typed: outside to the local network", "http://outside.example/lan", false, false},
		{"typed: outside to an order", "http://outside.example/order", false, false},
		{"typed: a name that changes", "http://rebind.example/rebind", false, false},
		{"typed: to a file", "http://outside.example/file", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeInternet(t, func(w http.ResponseWriter, r *http.Request) {
				if to := redirects[r.URL.Path]; to != "" {
					w.Header().Set("Location", to)
					w.WriteHeader(http.StatusFound)
					return
				}
				w.Write(content)
			})
			l := &Loader{Network: f}
			var err error
			if test.stranger {
				_, err = l.FetchSources(t.Context(), &Magnet{InfoHash: hashOf(t, testHash), Sources: []string{test.url}})
			} else {
				_, err = l.Load(t.Context(), test.url)
			}
			if (err == nil) != test.works {
				t.Errorf("got %v; reached %q", err, f.reached)
			}
			inner := func(addr string) bool { return !f.MayName(netip.Addr{}, netip.MustParseAddr(addr)) }
			if !test.works && slices.ContainsFunc(f.reached[min(1, len(f.reached)):], inner) || !test.works && test.stranger && slices.ContainsFunc(f.reached, inner) {
				t.Errorf("reached %q", f.reached)
			}
		})
	}
}

func TestFetchSources(t *testing.T) {
	content := readFile(t, filepath.Join("testdata", "transmission-folder.torrent"))
	f := newFakeInternet(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			w.Write(content)
		case "/gzipped":
			w.Write(gzipped(content))
		case "/bomb":
			w.Write(gzipped(make([]byte, MaxTorrentSize+1)))
		case "/other":
			w.Write(torrentOf(t, nil))
		case "/large":
			for range MaxTorrentSize>>20 + 1 {
				w.Write(make([]byte, 1<<20))
			}
		default:
			http.NotFound(w, r)
		}
	})
	l := &Loader{Network: f}
	magnet := func(paths ...string) *Magnet {
		m := &Magnet{InfoHash: hashOf(t, testHash)}
		for _, path := range paths {
			m.Sources = append(m.Sources, "http://outside.example"+path)
		}
		return m
	}
	for _, m := range []*Magnet{magnet("/good"), magnet("/gzipped"), magnet("/absent", "/bomb", "/other", "/large", "/good")} {
		if torrent, err := l.FetchSources(t.Context(), m); err != nil || torrent.Info.InfoHash != m.InfoHash {
			t.Errorf("%q: %v", m.Sources, err)
		}
	}
	for _, m := range []*Magnet{magnet(), magnet("/other"), magnet("/bomb"), magnet("/large"), magnet("/absent")} {
		if torrent, err := l.FetchSources(t.Context(), m); err == nil {
			t.Errorf("%q: %+v", m.Sources, torrent)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.FetchSources(ctx, magnet("/good")); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

// What a magnet link names by urn is no URL to fetch from.
func TestSourcesOfMagnets(t *testing.T) {
	m, err := ParseMagnet("magnet:?xt=urn:btih:" + testHash + "&xs=urn:btih:" + testHash + "&xs=http://a/x.torrent&as=%20https://b/y z\n&xs=ftp://c/&as=http://a/x.torrent")
	if want := []string{"http://a/x.torrent", "https://b/y%20z"}; err != nil || !slices.Equal(m.Sources, want) {
		t.Errorf("%q, %v", m.Sources, err)
	}
}
