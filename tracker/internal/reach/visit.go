package reach

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// MaxRedirects is what a tracker that has moved could need.
	MaxRedirects = 5
	// phaseTimeout bounds connecting and the TLS handshake each, so that a server
	// that cannot be reached fails early.
	phaseTimeout = 10 * time.Second
	// maxResponseHeader bounds the header of an answer, in bytes.
	maxResponseHeader = 64 << 10
)

// Visit is one request to an HTTP or WebSocket server, with the redirects that it may
// answer. They are followed to addresses that the one who redirects may name. It is
// for one request at a time.
type Visit struct {
	ctx       context.Context
	net       Network
	log       *slog.Logger
	family    string
	transport *http.Transport

	mu         sync.Mutex
	redirected bool
	proxied    bool
	speaker    netip.Addr
}

// NewVisit prepares a visit within ctx over "tcp", or over one address family: "tcp4"
// or "tcp6".
func NewVisit(ctx context.Context, n Network, log *slog.Logger, family string) *Visit {
	v := &Visit{ctx: ctx, net: n, log: log, family: family}
	t := n.HTTPTransport().Clone()
	t.DialContext, t.DialTLSContext = v.dial, nil
	if proxy := t.Proxy; proxy != nil {
		t.Proxy = func(r *http.Request) (*url.URL, error) { return v.proxy(r, proxy) }
	}
	t.TLSHandshakeTimeout = phaseTimeout
	t.MaxResponseHeaderBytes = maxResponseHeader
	// Announces are minutes apart; no connection is worth keeping.
	t.DisableKeepAlives = true
	// WebSockets do without HTTP/2, and so do trackers.
	t.ForceAttemptHTTP2, t.Protocols = false, new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = nil
	}
	v.transport = t
	return v
}

// Client is for the visit's request.
func (v *Visit) Client() *http.Client {
	return &http.Client{Transport: v.transport, CheckRedirect: v.checkRedirect}
}

// Speaker is the address of whoever was connected to last; the zero Addr if that
// was a proxy.
func (v *Visit) Speaker() netip.Addr {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.speaker
}

// Close lets go of what is left of the visit; a WebSocket connection stays.
func (v *Visit) Close() { v.transport.CloseIdleConnections() }

func (v *Visit) checkRedirect(_ *http.Request, via []*http.Request) error {
	if len(via) > MaxRedirects {
		return fmt.Errorf("more than %d redirects", MaxRedirects)
	}
	v.mu.Lock()
	v.redirected = true
	v.mu.Unlock()
	return nil
}

// proxy asks which proxy a request goes through, if any. The proxy looks names up, so
// that only an address in a redirect can be judged here.
func (v *Visit) proxy(r *http.Request, ask func(*http.Request) (*url.URL, error)) (*url.URL, error) {
	u, err := ask(r)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.proxied = u != nil
	if err == nil && u != nil && v.redirected {
		host := r.URL.Hostname()
		named, parseErr := netip.ParseAddr(host)
		if host == "localhost" || strings.HasSuffix(host, ".localhost") {
			named, parseErr = netip.IPv6Loopback(), nil
		}
		if parseErr == nil && !v.net.MayName(v.speaker, named) {
			return nil, inward(host)
		}
	}
	return u, err
}

// dial is called by net/http in a goroutine of its own, which nobody else guards.
func (v *Visit) dial(ctx context.Context, _, address string) (conn net.Conn, err error) {
	if fault := Guard(v.log, "connecting to "+address, func() { conn, err = v.connect(ctx, address) }); fault != nil {
		return nil, fault
	}
	return conn, err
}

func (v *Visit) connect(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, phaseTimeout)
	defer cancel()
	defer context.AfterFunc(v.ctx, cancel)()
	v.mu.Lock()
	redirected, proxied, speaker := v.redirected, v.proxied, v.speaker
	v.mu.Unlock()
	var conn net.Conn
	var err error
	switch {
	case proxied:
		conn, err = v.net.DialContext(ctx, "tcp", address)
	case redirected:
		conn, err = v.dialNamed(ctx, speaker, address)
	default:
		conn, err = v.net.DialContext(ctx, v.family, address)
	}
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.speaker = (netip.Addr{}); !proxied {
		v.speaker = AddrOf(conn.RemoteAddr())
	}
	return conn, nil
}

// dialNamed connects to an address that somebody else has named. Names are looked up
// here, so that the address that is judged is the one that is dialled.
func (v *Visit) dialNamed(ctx context.Context, speaker netip.Addr, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := Lookup(ctx, v.net, strings.Replace(v.family, "tcp", "ip", 1), host)
	if err != nil {
		return nil, err
	}
	err = inward(host)
	for i, a := range addrs {
		if !v.net.MayName(speaker, a) {
			continue
		}
		share, cancel := ctx, context.CancelFunc(func() {})
		if deadline, ok := ctx.Deadline(); ok { // an address that is silent leaves time for the next
			share, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(addrs)-i))
		}
		var conn net.Conn
		conn, err = v.net.DialContext(share, v.family, net.JoinHostPort(a.String(), port))
		cancel()
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// errInward is the cause of every redirect that was not followed for its address.
var errInward = errors.New("who is outside may not send us to an address inside")

func inward(host string) error {
	return fmt.Errorf("the redirect to %s is not followed: %w", host, errInward)
}

// Lookup returns the addresses of a host, which may be an address itself, for the
// network ip, ip4 or ip6. Without an error there is at least one.
func Lookup(ctx context.Context, n Network, network, host string) ([]netip.Addr, error) {
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else if addrs, err = n.LookupNetIP(ctx, network, host); err != nil {
		return nil, err
	}
	kept := addrs[:0:0]
	for _, a := range addrs {
		a = a.Unmap()
		if network == "ip" || a.Is4() == (network == "ip4") {
			kept = append(kept, a)
		}
	}
	if len(kept) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return kept, nil
}
