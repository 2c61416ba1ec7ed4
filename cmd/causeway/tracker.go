package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/causeway-bt/causeway/tracker/server"
	"github.com/causeway-bt/causeway/tracker/server/certificate"
	"github.com/causeway-bt/causeway/tracker/server/peerjs"
	"github.com/causeway-bt/causeway/tracker/server/port"
	"github.com/causeway-bt/causeway/tracker/server/relay"
	"github.com/causeway-bt/causeway/tracker/server/websocket"
	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

func (a *app) trackerCommand() *cobra.Command {
	var f trackerFlags
	cmd := &cobra.Command{
		Use:   "tracker",
		Short: "Run a tracker, with STUN and TURN",
		Long: `Run a tracker for classic peers and browsers: HTTP and WebSocket on a TCP port, UDP
on the UDP port of the same number. The announce URLs are printed first.

On the same two ports it tells WebRTC peers their addresses (STUN), and with
--turn-secret or --turn-user it relays between those that cannot reach each other
(TURN, over UDP, TCP and TLS). Nothing is stored on disk: when it is started again,
peers come back with their next announce.`,
		Example: `  causeway tracker
  causeway tracker --port 443 --tls-cert cert.pem --tls-key key.pem
  causeway tracker --public tracker.example --turn-secret "$SECRET"`,
		Args: arguments(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.runTracker(cmd.Context(), &f)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

// answersWithin is how long the requests that are being answered may hold up the end.
const answersWithin = 5 * time.Second

// trackerRun is a tracker while it runs.
type trackerRun struct {
	app   *app
	flags *trackerFlags

	tracker *server.Server
	relay   *relay.Server
	files   *certificate.Files // nil: no TLS, or not by files
	acme    *certificate.ACME  // nil: not by ACME
	sockets trackerSockets
	public  publicHost

	web        *websocket.Server // nil: without
	webSockets *socket.Server
	peerJS     *peerjs.Server // nil without --peerjs

	serving sync.WaitGroup
	failed  chan error
	done    chan struct{} // closed when it ends
}

func (a *app) runTracker(ctx context.Context, f *trackerFlags) error {
	hangups := make(chan os.Signal, 1)
	stopHangups := a.onHangup(hangups)
	defer stopHangups()
	raiseOpenFiles()
	tuneHeap()
	r := &trackerRun{app: a, flags: f, failed: make(chan error, 1), done: make(chan struct{})}
	err := r.start(ctx)
	if err == nil {
		r.tell()
		err = r.wait(ctx, hangups)
	}
	return errors.Join(err, r.close())
}

// start makes all parts and has them serve. What it has made when it fails, close ends.
func (r *trackerRun) start(ctx context.Context) (err error) {
	f := r.flags
	if r.public, err = resolvePublic(ctx, f.public); err != nil {
		return err
	}
	r.relay, err = relay.New(relay.Config{
		Secret: f.turn.secret, Users: f.turn.passwords, Public: r.public.addresses,
		MinPort: f.turn.low, MaxPort: f.turn.high, AllowPrivate: f.turn.allowPrivate,
		Limits: f.turn.limits, Logger: r.logger(),
	})
	if err != nil {
		return err
	}
	if r.tracker, err = server.New(r.serverConfig()); err != nil {
		return err
	}
	if r.sockets, err = f.open(ctx); err != nil {
		return err
	}
	tlsConfig, err := r.certificates()
	if err != nil {
		return err
	}
	return r.serve(tlsConfig)
}

// certificates has TLS set up, if there is to be any.
func (r *trackerRun) certificates() (config *tls.Config, err error) {
	f := &r.flags.tls
	switch {
	case f.cert != "":
		if r.files, err = certificate.Load(f.cert, f.key, r.logger()); err != nil {
			return nil, usagef("%v", err)
		}
		return r.files.TLSConfig(), nil
	case len(f.acme) > 0:
		folder := f.folder
		if folder == "" {
			state, err := defaultStateDir()
			if err != nil {
				return nil, usagef("there is no place for certificates: %v; name a folder with --acme-folder", err)
			}
			folder = filepath.Join(state, "acme")
		}
		r.acme, err = certificate.Manage(certificate.ACMEConfig{
			Subjects: f.acme, CA: f.ca, Email: f.email, Folder: folder,
			TLSPort: f.tlsPort, HTTPPort: f.httpPort,
			ServesTLS: f.tlsPort == portOf(r.sockets.http.Addr()),
			Logger:    r.logger(),
		})
		if err != nil {
			return nil, err
		}
		return r.acme.TLSConfig(), nil
	}
	return nil, nil
}

func (r *trackerRun) serverConfig() server.Config {
	f := r.flags
	config := server.Config{
		Interval: f.interval, MinInterval: f.minInterval,
		Connections: f.connections, HostConnections: f.hostConnections,
		Allow: f.allow, Deny: f.deny, TrustProxy: f.proxies, NoHTTP: f.noHTTP,
		Logger: r.logger(),
	}
	if !f.noWS || f.peerJS {
		r.webSockets = f.newWebSockets(config.Logger)
		config.WebSockets = func() int { return r.webSockets.Stats().Open }
	}
	if !f.noWS {
		config.WebSocket = r.webSocket
	}
	if f.peerJS {
		config.PeerJS = r.peerJSPages
	}
	if f.accessLog {
		config.AccessLog = r.app.accessLog()
	}
	return config
}

// serve has all parts serve the sockets.
func (r *trackerRun) serve(tlsConfig *tls.Config) error {
	share, err := r.relay.Port(r.sockets.udp)
	if err != nil {
		return err
	}
	r.background("UDP", func() error {
		if r.flags.noUDP {
			return readPackets(r.sockets.udp, share.Deliver)
		}
		return r.tracker.ServePacketShared(r.sockets.udp, share.Deliver)
	})
	r.serving.Go(func() { r.count(r.done) })
	for _, listener := range r.sockets.tcp {
		split := port.Listen(listener, port.Config{
			TLS: tlsConfig, RefusePlain: r.flags.tls.only, TURN: r.relay.ServeConn, Logger: r.logger(),
		})
		r.sockets.split = append(r.sockets.split, split)
		r.background("TCP", func() error { return r.tracker.Serve(split) })
	}
	return nil
}

// background serves something until it is closed.
func (r *trackerRun) background(what string, serve func() error) {
	r.serving.Go(func() {
		if err := serve(); err != nil && !errors.Is(err, net.ErrClosed) {
			select {
			case r.failed <- fmt.Errorf("serving %s: %w", what, err):
			default:
			}
		}
	})
}

// wait returns when the command is to end.
func (r *trackerRun) wait(ctx context.Context, hangups <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-r.failed:
			return err
		case <-hangups:
			r.reload()
		}
	}
}

// reload reads the files again.
func (r *trackerRun) reload() {
	err := r.tracker.Reload()
	if r.files != nil {
		err = errors.Join(err, r.files.Reload())
	}
	if err != nil {
		r.app.warn("", fmt.Sprintf("not everything was read again; what was there before stays: %v", err))
		return
	}
	r.app.event("reloaded", struct{}{})
	r.app.line("reloaded")
}

// close ends everything: what is being answered is answered, nothing new is taken.
func (r *trackerRun) close() error {
	close(r.done)
	var errs []error
	if r.tracker != nil {
		ctx, cancel := context.WithTimeout(context.Background(), answersWithin)
		if err := r.tracker.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			errs = append(errs, err)
		}
		cancel()
	}
	for _, split := range r.sockets.split {
		errs = append(errs, split.Close())
	}
	if r.relay != nil {
		errs = append(errs, r.relay.Close())
	}
	if r.peerJS != nil {
		r.peerJS.Close()
	}
	if r.webSockets != nil {
		r.webSockets.Close()
	}
	if r.acme != nil {
		r.acme.Close()
	}
	r.sockets.close()
	r.serving.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("ending the tracker: %w", err)
		}
	}
	return nil
}

// readPackets reads a UDP socket that has no tracker.
func readPackets(conn *net.UDPConn, deliver func([]byte, netip.AddrPort)) error {
	b := make([]byte, 2<<10) // what does not fit is neither STUN nor TURN
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		switch {
		case err == nil:
			deliver(b[:n], from)
		case errors.Is(err, net.ErrClosed):
			return err
		}
	}
}

// onHangup has SIGHUP sent to hangups, instead of ending the program.
func (a *app) onHangup(hangups chan os.Signal) (stop func()) {
	a.reloads.Store(true)
	signal.Notify(hangups, syscall.SIGHUP)
	return func() {
		signal.Stop(hangups)
		a.reloads.Store(false)
	}
}

// logger has warnings printed as such, and everything with --verbose.
func (r *trackerRun) logger() *slog.Logger { return slog.New(&warnings{app: r.app}) }
