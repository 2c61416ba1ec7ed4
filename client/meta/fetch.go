package meta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	fetchTimeout = 30 * time.Second // for a .torrent file over HTTP, in all
	dialTimeout  = 10 * time.Second // for one of several addresses of a host
	maxRedirects = 5
)

// loadURL reads what the person typed: it may be anywhere.
func (l *Loader) loadURL(ctx context.Context, address string) (*Source, error) {
	u, err := url.Parse(cleanURL(address))
	if err != nil || u.Hostname() == "" {
		return nil, usagef("%s is not a valid URL", quoteShort(address))
	}
	got, err := l.fetch(ctx, u, false)
	if err != nil {
		return nil, fetchFailed(u, err)
	}
	if got.magnet != "" {
		source, err := loadMagnet(got.magnet)
		if err != nil {
			return nil, usagef("%s leads to a magnet link: %w", u.Redacted(), err)
		}
		return source, nil
	}
	return parseContent(got.body, u.Redacted(), false)
}

// FetchSources fetches the .torrent file of a magnet link from the URLs that the link
// names ("xs", "as"), one after the other, and returns the first that has the infohash of
// the link. As those URLs are a stranger's word, they may lead to this computer or the
// local network only if they look like a file, ending in .torrent without a query (which
// is libtorrent's rule), and no redirect may lead further in. It is for running beside
// the search for peers; the error says what was wrong with each URL.
func (l *Loader) FetchSources(ctx context.Context, m *Magnet) (*Torrent, error) {
	var errs []error
	for _, source := range m.Sources {
		torrent, err := l.fetchSource(ctx, source, m.InfoHash)
		if err == nil {
			return torrent, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		errs = append(errs, fmt.Errorf("%s: %w", quoteShort(source), err))
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("the magnet link names no source of its metadata"))
	}
	return nil, errors.Join(errs...)
}

func (l *Loader) fetchSource(ctx context.Context, source string, want [20]byte) (*Torrent, error) {
	u, err := url.Parse(source)
	if err != nil {
		return nil, err
	}
	got, err := l.fetch(ctx, u, true)
	if err != nil {
		return nil, err
	}
	body, err := unpack(got.body)
	if err != nil {
		return nil, err
	}
	torrent, err := ParseTorrent(body)
	if err != nil {
		return nil, err
	}
	if torrent.Info.InfoHash != want {
		return nil, errors.New("it is another torrent")
	}
	return torrent, nil
}

// fetched is what a URL led to: a magnet link, or a body.
type fetched struct {
	magnet string
	body   []byte
}

// errInward is where a stranger's word may not lead.
var errInward = errors.New("it leads to this computer or the local network, where links from outside may not lead")

// fetch gets u and follows its redirects. stranger tells that u itself is not what the
// person typed.
func (l *Loader) fetch(ctx context.Context, u *url.URL, stranger bool) (fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	h := &hop{network: orPlain(l.Network), stranger: stranger}
	for range maxRedirects + 1 {
		response, err := h.get(ctx, u)
		if err != nil {
			return fetched{}, err
		}
		location := response.Header.Get("Location")
		if !isRedirect(response.StatusCode) || location == "" {
			defer response.Body.Close()
			return readBody(u, response)
		}
		response.Body.Close()
		if looksLikeMagnet([]byte(location)) {
			return fetched{magnet: location}, nil
		}
		u, err = u.Parse(cleanURL(location))
		if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fetched{}, fmt.Errorf("it redirects to %s, which is no http(s) URL or magnet link", quoteShort(location))
		}
		h.redirected = true
	}
	return fetched{}, fmt.Errorf("it redirects more than %d times", maxRedirects)
}

// looksLikeFile tells whether a URL can hardly be an order to a program that listens on
// this computer or the local network.
func looksLikeFile(u *url.URL) bool {
	return strings.HasSuffix(strings.ToLower(u.Path), ".torrent") && u.RawQuery == "" && !u.ForceQuery
}

func isRedirect(code int) bool {
	switch code {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

func readBody(u *url.URL, response *http.Response) (fetched, error) {
	switch code := response.StatusCode; {
	case code >= 400 && code < 500:
		return fetched{}, usagef("%s answers %s; check the URL", u.Redacted(), response.Status)
	case code != http.StatusOK:
		return fetched{}, fmt.Errorf("%s answers %s; try again later", u.Redacted(), response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxTorrentSize+1))
	if err != nil {
		return fetched{}, err
	}
	return fetched{body: body}, nil
}

// hop is one request of a chain of redirects.
type hop struct {
	network    Network
	target     *url.URL
	stranger   bool       // the chain begins with a stranger's word
	redirected bool       // it is where another server sent us
	speaker    netip.Addr // of the server that did; zero if it is not known
}

// unbounded tells whether it may go anywhere: the person typed it.
func (h *hop) unbounded() bool { return !h.stranger && !h.redirected }

// mayReach tells whether it may go to an address.
func (h *hop) mayReach(addr netip.Addr) bool {
	outside := h.network.MayName(netip.Addr{}, addr.Unmap())
	harmless := outside || !h.stranger || looksLikeFile(h.target)
	return harmless && (!h.redirected || h.network.MayName(h.speaker, addr.Unmap()))
}

// get sends one request. Addresses are looked at when they are dialled, so that names
// cannot change what they stand for in between.
func (h *hop) get(ctx context.Context, u *url.URL) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "causeway")
	if u.User != nil {
		password, _ := u.User.Password()
		request.SetBasicAuth(u.User.Username(), password)
	}
	h.target = u
	transport := h.network.HTTPTransport().Clone()
	transport.DisableKeepAlives = true // one request; nothing is left running
	transport.DialTLSContext = nil
	var reached netip.Addr
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := h.dial(ctx, network, address)
		if err == nil {
			reached = addressOf(conn)
		}
		return conn, err
	}
	if transport.Proxy != nil {
		proxy, err := transport.Proxy(request)
		if err != nil {
			return nil, err
		}
		if proxy != nil {
			// The proxy dials for us. What we can tell of its target is checked here.
			if err := h.checkName(ctx, u.Hostname()); err != nil {
				return nil, err
			}
			transport.DialContext = h.network.DialContext
		}
	}
	response, err := transport.RoundTrip(request)
	h.speaker = reached
	if err != nil {
		return nil, &url.Error{Op: "Get", URL: u.Redacted(), Err: err}
	}
	return response, nil
}

func addressOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// dial connects to the first of the host's addresses that may be connected to.
func (h *hop) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if h.unbounded() {
		return h.network.DialContext(ctx, network, address)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := h.lookUp(ctx, host)
	if err != nil {
		return nil, err
	}
	err = errInward
	for _, addr := range addrs {
		if !h.mayReach(addr) {
			continue
		}
		dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
		conn, dialErr := h.network.DialContext(dialCtx, network, net.JoinHostPort(addr.String(), port))
		cancel()
		if dialErr == nil {
			return conn, nil
		}
		err = dialErr
	}
	return nil, err
}

func (h *hop) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	return h.network.LookupNetIP(ctx, "ip", host)
}

// checkName refuses a host that a proxy is to dial if one of its addresses may not be
// connected to. One that only the proxy knows is its own affair.
func (h *hop) checkName(ctx context.Context, host string) error {
	if h.unbounded() {
		return nil
	}
	addrs, err := h.lookUp(ctx, host)
	if err != nil {
		return nil //nolint:nilerr // only the proxy can resolve it
	}
	for _, addr := range addrs {
		if !h.mayReach(addr) {
			return errInward
		}
	}
	return nil
}
