// Package access decides who may talk to Causeway's HTTP side: it guards against
// DNS rebinding by the Host header, asks for a token, and refuses to listen
// beyond this machine without one.
//
// It tells web pages of other origins from everybody else by what browsers send. What
// such a page may do is the handler's business, as is CORS. There are neither users nor
// rights: whoever is let in may do everything that the handler behind it does.
//
//	ln, err := access.Listen(ctx, nil, "127.0.0.1:8080", token)
//	guard := access.New(ln.Addr(), token, hosts...)
//	server := &http.Server{Handler: guard.Wrap(handler), ReadHeaderTimeout: ...}
//
// Tokens travel as RFC 6750 bearer tokens or, because players cannot be told to
// send headers, as the query parameter "token". With AllowBasic they may be the password of
// any user, too (RFC 7617): file managers ask for one.
package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// TokenParam is the query parameter that carries the token.
const TokenParam = "token"

// ErrTokenNeeded means that an address other machines can reach was to be
// listened on without a token.
var ErrTokenNeeded = errors.New("a token is needed off loopback")

// Network is how Listen reaches the outside world.
type Network interface {
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// plainNetwork is package net.
type plainNetwork struct{ net.Resolver }

func (*plainNetwork) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(ctx, network, address)
}

// Listen listens on a host:port through network, where nil is package net. An address
// that is not loopback is refused with ErrTokenNeeded unless there is a token; an empty
// host means all addresses.
func Listen(ctx context.Context, network Network, addr, token string) (net.Listener, error) {
	if network == nil {
		network = &plainNetwork{}
	}
	ip, port, err := resolve(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP on %q: %w; give HOST:PORT, such as 127.0.0.1:8080", addr, err)
	}
	if token == "" && !ip.IsLoopback() {
		return nil, fmt.Errorf("refusing to listen for HTTP on %s: whoever reaches it could read everything; add --token SECRET, or use --http 127.0.0.1:%d: %w",
			addr, port, ErrTokenNeeded)
	}
	host := ""
	if ip.IsValid() {
		host = ip.String()
	}
	// What was checked is what is listened on: the name is not resolved twice.
	ln, err := network.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP on %q: %w", addr, err)
	}
	return ln, nil
}

// resolve finds the address and the port of a host:port. The address of an empty host
// is invalid. Of a name's addresses one of IPv4 is preferred, as package net does.
func resolve(ctx context.Context, network Network, addr string) (netip.Addr, int, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.Addr{}, 0, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil || host == "" {
		return netip.Addr{}, port, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap(), port, nil
	}
	ips, err := network.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, 0, err
	}
	if len(ips) == 0 {
		return netip.Addr{}, 0, fmt.Errorf("%s has no address", host)
	}
	first := ips[0].Unmap()
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() {
			return ip, port, nil
		}
	}
	return first, port, nil
}

// Guard lets requests through to a handler, or not. It is safe for concurrent use.
type Guard struct {
	token  [sha256.Size]byte
	needed bool
	basic  bool
	listen netip.Addr // invalid or unspecified: see localHost
	hosts  map[string]bool
}

// New returns a guard for a server that listens on listen (may be nil).
// Requests must name as their Host a loopback name or address, the address they
// arrived at, or one of hosts (names or addresses, without port). An empty token
// lets everyone in.
func New(listen net.Addr, token string, hosts ...string) *Guard {
	g := &Guard{
		token:  sha256.Sum256([]byte(token)),
		needed: token != "",
		hosts:  map[string]bool{"localhost": true},
	}
	if tcp, ok := listen.(*net.TCPAddr); ok {
		g.listen = tcp.AddrPort().Addr().Unmap()
	}
	for _, h := range hosts {
		g.hosts[canonicalHost(h)] = true
	}
	return g
}

// AllowBasic takes the token as a password, too, and asks for it in that way. It comes
// before Wrap.
func (g *Guard) AllowBasic() { g.basic = true }

// Wrap returns a handler that answers 403 to a foreign Host, 401 to a wrong or
// missing token, and passes everything else to next. A CORS preflight needs no
// token: browsers send none.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !g.hostAllowed(r):
			http.Error(w, "this Host name is not served here; add it with --allow-host", http.StatusForbidden)
		case !IsPreflight(r) && !g.tokenRight(r):
			challenge, how := "Bearer", "add ?token=... to the address"
			if g.basic {
				challenge, how = "Basic", "give it as the password, with any name"
			}
			w.Header().Set("WWW-Authenticate", challenge+` realm="causeway"`)
			http.Error(w, "a token is needed: "+how, http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// IsPreflight reports whether a request is a CORS preflight.
func IsPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}

// tokenRight compares digests, so that neither the time nor the length tells.
func (g *Guard) tokenRight(r *http.Request) bool {
	if !g.needed {
		return true
	}
	given := r.URL.Query().Get(TokenParam)
	if scheme, value, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		given = strings.TrimSpace(value)
	}
	if _, password, ok := r.BasicAuth(); ok && g.basic {
		given = password
	}
	digest := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(digest[:], g.token[:]) == 1
}

// hostAllowed guards against DNS rebinding: a page of evil.example whose name
// was made to resolve to this machine still says evil.example here.
func (g *Guard) hostAllowed(r *http.Request) bool {
	if r.Host == "" {
		return true // HTTP/1.0 without a Host; a browser always sends one
	}
	host := canonicalHost(hostname(r.Host))
	if g.hosts[host] {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	return ip.IsLoopback() || ip == g.listen || ip == arrivedAt(r)
}

// arrivedAt is the local address of the request's connection: the one a client
// named when the server listens on all of them.
func arrivedAt(r *http.Request) netip.Addr {
	tcp, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// hostname strips the port and the brackets of an IPv6 address.
func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
}

func canonicalHost(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return host
}
