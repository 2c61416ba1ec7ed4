package share

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// pageHeader must come with what changes something: pages of other origins cannot send it
// without asking, which is not answered.
const pageHeader = "X-Causeway"

// guard tells requests to us from those that were led here.
type guard struct {
	public *url.URL
	names  map[string]bool
}

func newGuard(cfg Config) guard {
	g := guard{public: cfg.Public, names: map[string]bool{"localhost": true}}
	for _, name := range cfg.Hosts {
		g.names[canonical(name)] = true
	}
	if cfg.Public != nil {
		g.names[canonical(cfg.Public.Hostname())] = true
	}
	return g
}

// hostAllowed guards against DNS rebinding: a page of evil.example whose name was made to
// resolve to this machine still says evil.example. An address is nobody's name: a page that
// is at one came from there.
func (g *guard) hostAllowed(r *http.Request) bool {
	if r.Host == "" {
		return true // HTTP/1.0; a browser always sends one
	}
	host := canonical(hostname(r.Host))
	if g.names[host] {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// secureAt reports whether a request came through the proxy that adds TLS.
func (g *guard) secureAt(r *http.Request) bool {
	return g.public != nil && g.public.Scheme == "https" && strings.EqualFold(r.Host, g.public.Host)
}

// ownPage reports whether our own page made a request that changes something, or refuses it.
func (g *guard) ownPage(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get(pageHeader) == "page" && g.sameOrigin(r) {
		return true
	}
	http.Error(w, "only the page itself may send", http.StatusForbidden)
	return false
}

// sameOrigin goes by what browsers send and pages cannot forge.
func (g *guard) sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// hostname strips the port and the brackets of an IPv6 address.
func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
}

func canonical(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// base is where a request reached us: "http://192.0.2.1:8080".
func base(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
