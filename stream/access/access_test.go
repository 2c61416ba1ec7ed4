package access_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/causeway-bt/causeway/stream/access"
)

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

func TestHostIsCheckedAgainstRebinding(t *testing.T) {
	everywhere := &net.TCPAddr{IP: net.IPv4zero, Port: 8080}
	lan := &net.TCPAddr{IP: net.IPv4(192, 168, 1, 5), Port: 8080}
	for _, tc := range []struct {
		listen  *net.TCPAddr
		host    string
		allowed bool
	}{
		{lan, "localhost", true},
		{lan, "LOCALHOST:8080", true},
		{lan, "localhost.:8080", true},
		{lan, "127.0.0.1:8080", true},
		{lan, "127.9.9.9", true},
		{lan, "[::1]:8080", true},
		{lan, "[::1]", true},
		{lan, "[::ffff:127.0.0.1]:1", true},
		{lan, "192.168.1.5:8080", true},
		{lan, "media.home", true},
		{lan, "MEDIA.home:99", true},
		{lan, "", true},
		{lan, "evil.example", false},
		{lan, "evil.example:8080", false},
		{lan, "localhost.evil.example", false},
		{lan, "127.0.0.1.evil.example", false},
		{lan, "192.168.1.6:8080", false},
		{lan, "0.0.0.0:8080", false},
		{lan, "2130706433", false},
		{lan, "localhost@evil.example", false},
		{lan, "localhost:8080:evil", false},
		{lan, "xn--lcalhost-", false},
		{everywhere, "10.1.2.3:8080", true}, // the address it arrived at
		{everywhere, "10.1.2.4:8080", false},
		{everywhere, "evil.example:8080", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = tc.host
		arrived := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 8080}
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(arrived)))
		w := httptest.NewRecorder()
		access.New(tc.listen, "", "media.home").Wrap(ok).ServeHTTP(w, r)
		want := http.StatusForbidden
		if tc.allowed {
			want = http.StatusNoContent
		}
		if w.Code != want {
			t.Errorf("Host %q at %v: got %d, want %d", tc.host, tc.listen, w.Code, want)
		}
	}
}

func TestToken(t *testing.T) {
	guard := access.New(nil, "s3cret&=").Wrap(ok)
	for _, tc := range []struct {
		name, target, authorization string
		preflight                   bool
		want                        int
	}{
		{"none", "/", "", false, http.StatusUnauthorized},
		{"empty", "/?token=", "", false, http.StatusUnauthorized},
		{"wrong", "/?token=s3cret", "", false, http.StatusUnauthorized},
		{"query", "/?token=s3cret%26%3D", "", false, http.StatusNoContent},
		{"bearer", "/", "Bearer s3cret&=", false, http.StatusNoContent},
		{"bearer, any case", "/", "bearer s3cret&=", false, http.StatusNoContent},
		{"basic", "/", "Basic s3cret&=", false, http.StatusUnauthorized},
		{"wrong bearer beats right query", "/?token=s3cret%26%3D", "Bearer x", false, http.StatusUnauthorized},
		{"preflight", "/", "", true, http.StatusNoContent},
	} {
		r := httptest.NewRequest(http.MethodGet, tc.target, nil)
		r.Host = "localhost"
		if tc.authorization != "" {
			r.Header.Set("Authorization", tc.authorization)
		}
		if tc.preflight {
			r.Method = http.MethodOptions
			r.Header.Set("Access-Control-Request-Method", http.MethodGet)
		}
		w := httptest.NewRecorder()
		guard.ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, w.Code, tc.want)
		}
	}
}

func TestListenOffLoopbackNeedsAToken(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		if ln, err := access.Listen(t.Context(), nil, addr, ""); !errors.Is(err, access.ErrTokenNeeded) {
			t.Errorf("%s: got %v, %v", addr, ln, err)
		}
	}
	for addr, token := range map[string]string{"127.0.0.1:0": "", "localhost:0": "", "0.0.0.0:0": "x"} {
		ln, err := access.Listen(t.Context(), nil, addr, token)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		ln.Close()
	}
	if _, err := access.Listen(t.Context(), nil, "127.0.0.1:nonsense", ""); err == nil {
		t.Error("a nonsense port was listened on")
	}
}

func TestParseOrigins(t *testing.T) {
	for _, text := range []string{"", "good.example", "https://", "https://good.example/page", "https://good.example?q", "//good.example",
		"https://user@good.example", "https://good.example#x", "localhost:8080", "https://a b", "**"} {
		if _, err := access.ParseOrigins([]string{text}); err == nil {
			t.Errorf("%q was taken for an origin", text)
		}
	}
}

// fakeNetwork knows one name, and counts what is asked of it.
type fakeNetwork struct {
	looked   []string
	listened []string
}

func (n *fakeNetwork) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.looked = append(n.looked, host)
	if host != "media.example" {
		return nil, errors.New("no such host")
	}
	return []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}, nil
}

func (n *fakeNetwork) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	n.listened = append(n.listened, network+" "+address)
	return net.Listen(network, "127.0.0.1:0")
}

func TestListenGoesThroughTheNetworkItIsGiven(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:0": "tcp 127.0.0.1:0", "media.example:80": "tcp 192.0.2.1:80", ":0": "tcp :0", "[::1]:8080": "tcp [::1]:8080",
	} {
		var network fakeNetwork
		ln, err := access.Listen(t.Context(), &network, addr, "secret")
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		ln.Close()
		if len(network.listened) != 1 || network.listened[0] != want {
			t.Errorf("%s: listened on %q, want %q", addr, network.listened, want)
		}
	}
	var network fakeNetwork
	if _, err := access.Listen(t.Context(), &network, "media.example:80", ""); !errors.Is(err, access.ErrTokenNeeded) {
		t.Errorf("without a token: %v", err)
	}
	if _, err := access.Listen(t.Context(), &network, "nonesuch.example:80", "secret"); err == nil || len(network.looked) != 2 {
		t.Errorf("%v, looked up %q", err, network.looked)
	}
}
