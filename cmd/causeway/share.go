package main

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/causeway-bt/causeway/stream/access"
)

// defaultShareHTTP is the address of the page. Links are for others, so that is all interfaces.
const defaultShareHTTP = ":8080"

// What is received at most, unless told otherwise.
const (
	defaultReceiveSize  = 10 << 30
	defaultReceiveFiles = 1000
)

type shareFlags struct {
	engine    engineFlags
	http      string
	httpGiven func() bool
	proxies   []string
	proxied   []netip.Prefix // of proxies
	hosts     []string
	origins   []string
	allowed   access.Origins // of origins
	publicURL string
	public    *url.URL // of publicURL; nil: none
	tls       tlsFlags
	password  string
	passGiven func() bool
	expire    time.Duration
	views     int
	noQR      bool
	out       string
	overwrite bool

	receive      string
	receiveSize  byteSize
	receiveFiles int
}

func (a *app) shareCommand() *cobra.Command {
	var f shareFlags
	cmd := &cobra.Command{
		Use:        "share PATH|SOURCE...",
		SuggestFor: []string{"send", "publish", "host"},
		Short:      "Share files by a link that plays in any browser",
		Long: `Serve a web page that plays or downloads files and torrents in any browser, and
print its link. Whoever opens it fetches from this program, from others who have it
open, and through this program from the classic swarm. Nothing else is needed: the
tracker and the STUN and TURN servers that the browsers use are part of it.

A PATH is a file or folder. A SOURCE, as a magnet link or a .torrent file, is shared
while it still downloads. With several, the page lists them. The same command gives
the same link again, and pages that are open go on by themselves.

Without TLS (--tls-cert, --acme, or a proxy named by --public-url) browsers allow
their peer-to-peer part on this machine only (localhost): elsewhere the page plays
over plain HTTP, and says so.`,
		Example: `  causeway share film.mp4
  causeway share 'magnet:?xt=urn:btih:...' --expire 2h
  causeway share Holiday --password "$PW" --tls-cert cert.pem --tls-key key.pem
  causeway share --receive Inbox`,
		ValidArgsFunction: completePath(-1),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && f.receive != "" {
				return nil
			}
			return arguments(1, -1, "a file, a folder, or a magnet link, .torrent file, URL or infohash")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.share(cmd.Context(), args, &f)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func (f *shareFlags) add(flags *pflag.FlagSet) {
	group(flags, groupStorage, func() {
		addOut(flags, &f.out)
		addOverwrite(flags, &f.overwrite)
	})
	group(flags, groupShare, func() {
		flags.StringVar(&f.publicURL, "public-url", "", "`URL` by which others reach the page, as https://share.example; it is printed as the link")
		flags.StringVar(&f.password, "password", "", "let in only who knows this `SECRET`; the torrents that are made are private then")
		f.passGiven = func() bool { return flags.Changed("password") }
		flags.DurationVar(&f.expire, "expire", 0, "end after `TIME`, as 2h or 30m (default never)")
		flags.IntVar(&f.views, "views", 0, "end when the page was opened in `NUMBER` browsers, and the last of them has left (default never)")
		flags.BoolVar(&f.noQR, "no-qr", false, "show no QR code of the link")
	})
	group(flags, groupReceive, func() {
		flags.StringVar(&f.receive, "receive", "", "take files that are dropped on the page, into `FOLDER`")
		f.receiveSize, f.receiveFiles = defaultReceiveSize, defaultReceiveFiles
		flags.Var(&f.receiveSize, "receive-size", "take at most `SIZE` bytes in all, as 500M (default 10G)")
		flags.IntVar(&f.receiveFiles, "receive-files", defaultReceiveFiles, "take at most `NUMBER` files in all")
	})
	group(flags, groupHTTP, func() {
		flags.StringVar(&f.http, "http", defaultShareHTTP, "serve the page, the tracker and TURN on `HOST:PORT` (default port 8080 of all interfaces, or of --listen; any if that is taken)")
		f.httpGiven = func() bool { return flags.Changed("http") }
		flags.StringArrayVar(&f.hosts, "allow-host", nil, "answer requests for this `NAME` of this machine too (repeatable)")
		flags.StringArrayVar(&f.origins, "allow-origin", nil, "let web pages of this `ORIGIN` read what is served, as https://site.example; * lets all read the files (repeatable)")
		flags.StringArrayVar(&f.proxies, "trust-proxy", nil, "believe the X-Forwarded-For of proxies in `NETWORK`, as 127.0.0.0/8 (repeatable)")
	})
	group(flags, groupTLS, func() { f.tls.add(flags) })
	f.engine.add(flags)
}

// check finds what is wrong with the flags, before anything is started.
func (f *shareFlags) check() (err error) {
	if err := f.engine.check(); err != nil {
		return err
	}
	if err := f.tls.check(); err != nil {
		return err
	}
	if err := checkOut(f.out); err != nil {
		return err
	}
	if f.allowed, err = access.ParseOrigins(f.origins); err != nil {
		return usagef("--allow-origin: %v", err)
	}
	_, port, err := net.SplitHostPort(f.http)
	if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
		return usagef("--http needs HOST:PORT, such as 0.0.0.0:8080, not %q", f.http)
	}
	if f.proxied, err = parseProxies(f.proxies); err != nil {
		return err
	}
	switch {
	case f.passGiven() && f.password == "":
		return usagef("--password is empty: without one, leave the flag out")
	case f.expire < 0:
		return usagef("--expire must be a time such as 2h, not %v", f.expire)
	case f.views < 0:
		return usagef("--views must not be less than 0")
	case f.receiveFiles < 1 || f.receiveSize < 1:
		return usagef("--receive-size and --receive-files must be more than 0")
	}
	if f.publicURL == "" {
		return nil
	}
	f.public, err = url.Parse(f.publicURL)
	if err != nil || (f.public.Scheme != "http" && f.public.Scheme != "https") || f.public.Hostname() == "" ||
		f.public.RawQuery != "" || f.public.User != nil || (f.public.Path != "" && f.public.Path != "/") {
		return usagef("--public-url needs the URL of a host, such as https://share.example or http://192.0.2.1:8080, not %q", f.publicURL)
	}
	return nil
}

func (a *app) share(ctx context.Context, sources []string, f *shareFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	run := &sharing{app: a, flags: f}
	err := run.start(ctx, sources)
	if err == nil {
		err = run.run(ctx)
	}
	return run.close(err)
}
