package main

import (
	"context"
	"errors"
	"net"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/causeway-bt/causeway/stream"
	"github.com/causeway-bt/causeway/stream/access"
)

const (
	defaultHTTP = "127.0.0.1:8080"
	anyHTTP     = "127.0.0.1:0" // where that is taken
)

// httpFlags say where HTTP is served, and to whom.
type httpFlags struct {
	address, token string
	hosts          []string
	origins        []string
	allowed        access.Origins // of origins
	given          func() bool    // the address, explicitly
}

func (f *httpFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.address, "http", defaultHTTP, "serve HTTP on `HOST:PORT` (default "+defaultHTTP+", or any port if that is taken)")
	flags.StringVar(&f.token, "token", "", "let in only who knows this `SECRET`; an address that other machines can reach needs one")
	flags.StringArrayVar(&f.hosts, "allow-host", nil, "answer requests for this `NAME` of this machine too (repeatable)")
	flags.StringArrayVar(&f.origins, "allow-origin", nil, "let web pages of this `ORIGIN` read what is served, as https://site.example; * lets all read the files (repeatable)")
	f.given = func() bool { return flags.Changed("http") }
}

func (f *httpFlags) check() (err error) {
	if f.allowed, err = access.ParseOrigins(f.origins); err != nil {
		return usagef("--allow-origin: %v", err)
	}
	_, port, err := net.SplitHostPort(f.address)
	if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
		return usagef("--http needs HOST:PORT, such as %s, not %q", defaultHTTP, f.address)
	}
	return nil
}

// listen listens through network.
func (f *httpFlags) listen(ctx context.Context, network access.Network) (net.Listener, error) {
	ln, err := access.Listen(ctx, network, f.address, f.token)
	if errors.Is(err, access.ErrTokenNeeded) {
		return nil, usagef("--http %s can be reached from other machines, and whoever finds it could read everything; add --token SECRET, or serve on %s", f.address, defaultHTTP)
	}
	if err != nil && !f.given() {
		return access.Listen(ctx, network, anyHTTP, f.token)
	}
	return ln, err
}

// elsewhere are links for other machines, if the server listens on all addresses.
func (f *httpFlags) elsewhere(server *stream.Server, addr net.Addr, torrent stream.Torrent) []string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return nil
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var links []string
	for _, address := range addresses {
		network, ok := address.(*net.IPNet)
		if !ok || !network.IP.IsGlobalUnicast() || network.IP.To4() == nil {
			continue
		}
		host := net.JoinHostPort(network.IP.String(), strconv.Itoa(tcp.Port))
		links = append(links, server.LinksAt("http://"+host).Torrent(torrent))
	}
	return links
}
