package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/nats-io/nats.go"
)

// Config is what a Cluster needs.
type Config struct {
	// URL is one or more addresses of NATS servers, with commas between them:
	// nats://, tls:// or ws://; user, password or token may be part of them.
	URL string
	// Name begins the subjects of all messages, so that several clusters can use one
	// account; "" means "causeway". Dots divide it as NATS has it.
	Name string
	// Node is this node's name, unlike all others: letters, digits, '.', '-' and '_'. One
	// that is the same after a restart owns the same swarms; "" means a random one.
	Node string

	// Credentials is a file of a NATS user (JWT and key); "" means none.
	Credentials string
	// CA is a file of certificates that the server's must come from; "" means those of the
	// system. Cert and Key are files of this node's own; "" means none.
	CA, Cert, Key string
	// DialContext connects to NATS servers; nil means plain net.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// Heartbeat is how often a node says that it is there; 0 means 1 s. It is gone when
	// three and a half times as long pass without. In clusters of more than 64 members it
	// is longer, so that each hears at most 64 in that time.
	Heartbeat time.Duration
	// Logger gets who comes and goes; nil means none.
	Logger *slog.Logger

	delay, timeout time.Duration
}

const (
	batchDelay  = 2 * time.Millisecond
	callTimeout = 5 * time.Second
	// dialTimeout bounds a connection's making, reconnectWait the rests between tries.
	dialTimeout   = 5 * time.Second
	reconnectWait = 500 * time.Millisecond
	// NATS servers are pinged, so that one that went without a word is noticed.
	pingEvery = 2 * time.Second
	pingsLost = 2
	// reconnectBytes bounds what waits in the client's library for a server to be back.
	reconnectBytes = 8 << 20
)

func (c Config) withDefaults() (Config, error) {
	if c.URL == "" {
		return c, errors.New("cluster: no address of a NATS server")
	}
	if c.Name == "" {
		c.Name = "causeway"
	}
	if !validName(c.Name) {
		return c, fmt.Errorf("cluster name %q: want 1 to %d letters, digits, '-', '_', or single dots between them", c.Name, maxName)
	}
	if c.Node == "" {
		c.Node = fmt.Sprintf("%016x", rand.Uint64())
	}
	if !validName(c.Node) {
		return c, fmt.Errorf("cluster node %q: want 1 to %d letters, digits, '-', '_', or single dots between them", c.Node, maxName)
	}
	if (c.Cert == "") != (c.Key == "") {
		return c, errors.New("cluster: a certificate and its key go together")
	}
	if c.Heartbeat <= 0 {
		c.Heartbeat = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.delay <= 0 {
		c.delay = batchDelay
	}
	if c.timeout <= 0 {
		c.timeout = callTimeout
	}
	return c, nil
}

// validName says whether something may be a node's name, or part of a subject.
func validName(s string) bool {
	last := byte('.')
	for i := range len(s) {
		b := s[i]
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '-', b == '_':
		case b == '.' && last != '.':
		default:
			return false
		}
		last = b
	}
	return last != '.' && len(s) <= maxName
}

func (c *Cluster) options() []nats.Option {
	o := []nats.Option{
		nats.Name("causeway tracker " + c.cfg.Node),
		nats.NoEcho(),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // credentials may be put right while this runs
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait/2, reconnectWait/2),
		nats.ReconnectBufSize(reconnectBytes),
		nats.Timeout(dialTimeout),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(pingsLost),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.disconnected(err) }),
		nats.ConnectHandler(func(*nats.Conn) { c.connected() }),
		nats.ReconnectHandler(func(*nats.Conn) { c.connected() }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.disconnected(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			c.counters.dropped.Add(1)
			c.warnOnce("NATS reports an error", err)
		}),
	}
	if c.cfg.Credentials != "" {
		o = append(o, nats.UserCredentials(c.cfg.Credentials))
	}
	if c.cfg.CA != "" {
		o = append(o, nats.RootCAs(c.cfg.CA))
	}
	if c.cfg.Cert != "" {
		o = append(o, nats.ClientCert(c.cfg.Cert, c.cfg.Key))
	}
	if c.cfg.DialContext != nil {
		o = append(o, nats.SetCustomDialer(dialer{c.cfg.DialContext}), nats.SkipHostLookup())
	}
	return o
}

type dialer struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (d dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	return d.dial(ctx, network, address)
}
