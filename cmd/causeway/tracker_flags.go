package main

import (
	"crypto/rand"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/causeway-bt/causeway/tracker/server/relay"
)

// defaultTrackerPort is that of --port.
const defaultTrackerPort = 8000

// trackerFlags are the flags of the tracker command.
type trackerFlags struct {
	listen                       string
	port                         int
	http, udp, ws                string
	noHTTP, noUDP, noWS, peerJS  bool
	public                       string
	interval, minInterval        time.Duration
	webInterval                  time.Duration
	allow, deny                  string
	trustProxy                   []string
	accessLog                    bool
	connections, hostConnections int
	tls                          tlsFlags
	turn                         turnFlags
	cluster                      clusterFlags

	proxies []netip.Prefix // of trustProxy
}

// tlsFlags say where certificates come from.
type tlsFlags struct {
	cert, key         string
	acme              []string
	ca, email, folder string
	tlsPort, httpPort int
	only              bool
}

// turnFlags are about STUN and TURN.
type turnFlags struct {
	secret       string
	users        []string
	open         bool
	ports        string
	allowPrivate bool
	limits       relay.Limits
	rate         byteSize
	userRate     byteSize

	passwords map[string]string // of users
	low, high uint16            // of ports
}

func (f *trackerFlags) add(flags *pflag.FlagSet) {
	group(flags, groupTracker, func() {
		flags.StringVar(&f.listen, "listen", "", "`ADDRESS` to listen at (default all interfaces)")
		flags.IntVar(&f.port, "port", defaultTrackerPort, "TCP and UDP `PORT`, 0 for any")
		flags.StringVar(&f.public, "public", "", "`HOST` in the URLs that are printed, and at which TURN says that it relays: the name or address by which others reach this machine")
		flags.StringVar(&f.http, "http", "", "serve HTTP on `HOST:PORT`, and WebSocket and TURN over TCP with it")
		flags.StringVar(&f.ws, "ws", "", "serve WebSocket on `HOST:PORT`, and HTTP and TURN over TCP with it, too")
		flags.StringVar(&f.udp, "udp", "", "serve UDP on `HOST:PORT`, and STUN and TURN with it")
		flags.BoolVar(&f.noHTTP, "no-http", false, "take no announces over HTTP")
		flags.BoolVar(&f.noUDP, "no-udp", false, "take no announces over UDP")
		flags.BoolVar(&f.noWS, "no-ws", false, "take no announces over WebSocket")
		flags.BoolVar(&f.peerJS, "peerjs", false, "introduce the pages of PeerJS, too: at path / with key peerjs")
		flags.StringVar(&f.allow, "allow", "", "track only the torrents whose infohashes are in `FILE`, one a line in hexadecimal; it is read again when it changes, and on SIGHUP")
		flags.StringVar(&f.deny, "deny", "", "do not track the torrents whose infohashes are in `FILE`")
		flags.DurationVar(&f.interval, "interval", 30*time.Minute, "`TIME` between announces of a peer")
		flags.DurationVar(&f.minInterval, "min-interval", 5*time.Minute, "least `TIME` between announces that HTTP peers are asked to keep to")
		flags.DurationVar(&f.webInterval, "web-interval", 2*time.Minute, "`TIME` between announces of a WebSocket peer")
		flags.StringArrayVar(&f.trustProxy, "trust-proxy", nil, "believe the X-Forwarded-For of proxies in `NETWORK`, as 10.0.0.0/8 (repeatable)")
		flags.BoolVar(&f.accessLog, "access-log", false, "log each announce and scrape, with --json as events")
	})
	group(flags, groupTLS, func() { f.tls.add(flags) })
	group(flags, groupTURN, func() { f.turn.add(flags) })
	group(flags, groupCluster, func() { f.cluster.add(flags) })
	group(flags, groupLimits, func() {
		flags.IntVar(&f.connections, "connections", 50_000, "hold at most `NUMBER` HTTP and WebSocket connections")
		flags.IntVar(&f.hostConnections, "host-connections", 500, "hold at most `NUMBER` of them of one address")
	})
}

func (f *tlsFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.cert, "tls-cert", "", "certificate in `FILE` (PEM, with its chain), for https, wss and turns on the same port; it is read again when it changes, and on SIGHUP")
	flags.StringVar(&f.key, "tls-key", "", "its key in `FILE` (PEM)")
	flags.StringArrayVar(&f.acme, "acme", nil, "get a certificate for this machine's `HOST`, a name or a bare IP address, from a certificate authority, and renew it (repeatable)")
	flags.StringVar(&f.ca, "acme-ca", "", "`URL` of the authority's ACME directory (default Let's Encrypt)")
	flags.StringVar(&f.email, "acme-email", "", "`TEXT`: the e-mail address that the authority may write to")
	flags.StringVar(&f.folder, "acme-folder", "", "`FOLDER` of the account and the certificates (default "+shownStateDir()+"/acme)")
	flags.IntVar(&f.tlsPort, "acme-tls-port", 443, "the authority asks at port 443, which leads to this `PORT` here")
	flags.IntVar(&f.httpPort, "acme-http-port", 80, "or at port 80, which leads to this `PORT` here")
	flags.BoolVar(&f.only, "tls-only", false, "refuse connections without TLS")
}

func (f *turnFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.secret, "turn-secret", "", "relay (TURN) for those who have credentials made with `SECRET`: user expiry:name, password base64(HMAC-SHA1)")
	flags.StringArrayVar(&f.users, "turn-user", nil, "relay for `USER:PASSWORD` (repeatable)")
	flags.BoolVar(&f.open, "turn-open", false, "relay for everybody who announces over WebSocket: the reply has credentials")
	flags.StringVar(&f.ports, "turn-ports", "", "relay from the UDP ports in `RANGE` (default 49152-65535)")
	flags.BoolVar(&f.allowPrivate, "turn-allow-private", false, "relay to private and loopback addresses and to this machine, too")
	flags.IntVar(&f.limits.Allocations, "turn-allocations", relay.DefaultAllocations, "have at most `NUMBER` relays")
	flags.IntVar(&f.limits.UserAllocations, "turn-user-allocations", relay.DefaultUserAllocations, "have at most `NUMBER` relays of a user")
	flags.IntVar(&f.limits.AddressAllocations, "turn-address-allocations", relay.DefaultAddressAllocations, "have at most `NUMBER` relays of an address")
	flags.DurationVar(&f.limits.Lifetime, "turn-lifetime", relay.DefaultLifetime, "end a relay after `TIME`, however it is used")
	f.rate, f.userRate = relay.DefaultRate, relay.DefaultUserRate
	flags.Var(&f.rate, "turn-rate", "relay at most `RATE` bytes per second in all, as 500K or 2M; K is 1024 (default 100M)")
	flags.Var(&f.userRate, "turn-user-rate", "relay at most `RATE` bytes per second of a user (default 10M)")
}

// check finds what is wrong with the flags, before anything is started.
func (f *trackerFlags) check() (err error) {
	if f.port < 0 || f.port > 65535 {
		return usagef("--port must be from 0 to 65535, not %d", f.port)
	}
	for flag, address := range map[string]string{"--http": f.http, "--udp": f.udp, "--ws": f.ws} {
		_, port, err := net.SplitHostPort(address)
		if _, portErr := strconv.ParseUint(port, 10, 16); address != "" && (err != nil || portErr != nil) {
			return usagef("%s needs HOST:PORT, such as 192.0.2.1:8000, not %q", flag, address)
		}
	}
	for flag, d := range map[string]time.Duration{"--interval": f.interval, "--min-interval": f.minInterval, "--web-interval": f.webInterval,
		"--turn-lifetime": f.turn.limits.Lifetime} {
		if d < time.Second {
			return usagef("%s must be at least a second, as 1s or 30m, not %v", flag, d)
		}
	}
	for flag, n := range map[string]int{
		"--connections": f.connections, "--host-connections": f.hostConnections,
		"--turn-allocations": f.turn.limits.Allocations, "--turn-user-allocations": f.turn.limits.UserAllocations,
		"--turn-address-allocations": f.turn.limits.AddressAllocations,
	} {
		if n < 1 {
			return usagef("%s must be at least 1, not %d", flag, n)
		}
	}
	for flag, path := range map[string]string{"--allow": f.allow, "--deny": f.deny, "--tls-cert": f.tls.cert, "--tls-key": f.tls.key} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			return usagef("%s: %v", flag, err)
		}
	}
	if err := f.tls.check(); err != nil {
		return err
	}
	if f.proxies, err = parseProxies(f.trustProxy); err != nil {
		return err
	}
	if err := f.cluster.check(); err != nil {
		return err
	}
	return f.turn.check()
}

// parseProxies reads the networks of --trust-proxy.
func parseProxies(texts []string) (proxies []netip.Prefix, err error) {
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, usagef("--trust-proxy needs a network, such as 10.0.0.0/8, not %q", text)
		}
		proxies = append(proxies, network.Masked())
	}
	return proxies, nil
}

// on tells whether there is TLS.
func (f *tlsFlags) on() bool { return f.cert != "" || len(f.acme) > 0 }

func (f *tlsFlags) check() error {
	switch {
	case (f.cert == "") != (f.key == ""):
		return usagef("--tls-cert and --tls-key go together")
	case f.cert != "" && len(f.acme) > 0:
		return usagef("the certificate is from --tls-cert or from --acme, not both")
	case f.only && !f.on():
		return usagef("--tls-only needs a certificate; name one with --tls-cert and --tls-key, or get one with --acme")
	case len(f.acme) == 0 && (f.ca != "" || f.email != ""):
		return usagef("--acme-ca and --acme-email need --acme HOST")
	}
	for _, host := range f.acme {
		if strings.ContainsAny(host, "/: *") && net.ParseIP(host) == nil || host == "" {
			return usagef("--acme needs a name or an IP address of this machine, not %q", host)
		}
	}
	for flag, port := range map[string]int{"--acme-tls-port": f.tlsPort, "--acme-http-port": f.httpPort} {
		if port < 1 || port > 65535 {
			return usagef("%s must be from 1 to 65535, not %d", flag, port)
		}
	}
	return nil
}

func (f *turnFlags) check() error {
	if f.open && f.secret == "" {
		f.secret = rand.Text() // nobody else needs to know it
	}
	f.passwords = map[string]string{}
	for _, text := range f.users {
		user, password, ok := strings.Cut(text, ":")
		if !ok || user == "" || password == "" {
			return usagef("--turn-user needs USER:PASSWORD")
		}
		f.passwords[user] = password
	}
	if f.ports != "" {
		low, high, _ := strings.Cut(f.ports, "-")
		first, err := strconv.ParseUint(low, 10, 16)
		last, lastErr := strconv.ParseUint(high, 10, 16)
		if err != nil || lastErr != nil || first == 0 || first > last {
			return usagef("--turn-ports needs a range, such as 49152-65535, not %q", f.ports)
		}
		f.low, f.high = uint16(first), uint16(last)
	}
	if f.rate < 1 || f.userRate < 1 {
		return usagef("--turn-rate and --turn-user-rate must be at least a byte per second")
	}
	f.limits.Rate, f.limits.UserRate, f.limits.Conns = int64(f.rate), int64(f.userRate), f.limits.Allocations
	return nil
}
