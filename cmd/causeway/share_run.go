package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/share"
	"github.com/causeway-bt/causeway/stream"
	"github.com/causeway-bt/causeway/tracker/server/port"
	"github.com/causeway-bt/causeway/web"
)

// endGrace is how long pages have to learn that the share has ended: they ask every two
// seconds.
const endGrace = 5 * time.Second

// sharing is a run of the share command.
type sharing struct {
	app   *app
	flags *shareFlags
	*session

	memory   *share.Memory
	moved    bool // the port that is remembered is taken
	listener net.Listener
	packets  *net.UDPConn // at the same port; may be nil
	inner    net.Listener // for the engine, with --tls-only; nil: listener
	side     *trackerSide
	splitter *port.Splitter
	files    *stream.Server
	page     *share.Server
	receiver *share.Receiver // nil: nothing is received
	links    shareLinks
	names    []string // of its certificates

	torrents []*sharedTorrent // set before anything is served
	added    []addition
	serving  sync.WaitGroup
}

// addition is a torrent that is to be shared.
type addition struct {
	source  *meta.Source
	options client.TorrentOptions
}

// start makes all parts and has them serve. What it has made when it fails, close ends.
func (s *sharing) start(ctx context.Context, sources []string) error {
	f := s.flags
	things, err := s.load(ctx, sources)
	if err != nil {
		return err
	}
	state, err := f.engine.stateDir()
	if err != nil {
		return err
	}
	if s.memory, err = share.Remember(state, things); err != nil {
		return err
	}
	if err := s.listen(ctx); err != nil {
		return err
	}
	if s.side, err = s.newTrackerSide(); err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	if !f.engine.portGiven() && s.memory.PeerPort != 0 {
		f.engine.port = s.memory.PeerPort
	}
	if s.session, err = s.app.open(&f.engine); err != nil {
		return err
	}
	s.side.peerPort.Store(uint32(portOf(s.engine.UDPAddr())))
	if err := s.remember(); err != nil {
		s.app.warn("", err.Error())
	}
	if err := s.add(); err != nil {
		return err
	}
	// Not before: a page that comes again after a restart would find nothing here.
	s.serve()
	return nil
}

// load reads the sources, and makes torrents of files. It returns what the share is known by.
func (s *sharing) load(ctx context.Context, sources []string) (things []string, err error) {
	f := s.flags
	named := make(namedOnce)
	for _, source := range sources {
		a := addition{options: client.TorrentOptions{Peers: f.engine.peers, Trackers: f.engine.trackerList()}}
		if _, statErr := os.Stat(source); statErr == nil && !isTorrentName(source) {
			made, err := s.app.makeTorrent(ctx, source, meta.CreateOptions{Private: f.password != ""})
			if err != nil {
				return nil, err
			}
			a.source, a.options.Dir, a.options.Trusted, a.options.KeepLonger = made.source, made.root, true, true
			things = append(things, filepath.Join(made.root, made.source.Torrent.Info.Name))
		} else {
			src, err := s.app.load(ctx, source, f.engine.listen)
			if err != nil {
				return nil, err
			}
			a.source, a.options.Dir, a.options.Overwrite = src, f.out, f.overwrite
			a.options.Sequential = true // what is watched first comes first
			if src.Magnet != nil {
				a.options.LinkPeers = src.Magnet.Peers
			}
			things = append(things, fmt.Sprintf("%x", src.InfoHash()))
		}
		if err := named.check(source, a.source); err != nil {
			return nil, err
		}
		s.added = append(s.added, a)
	}
	if f.receive != "" {
		folder, err := filepath.Abs(f.receive)
		if err != nil {
			return nil, err
		}
		things = append(things, "receive "+folder)
	}
	if f.password != "" {
		things = append(things, "password")
	}
	return things, nil
}

// listen opens the TCP port: that of --http, or the one that this share had, or any. STUN and
// TURN are at the UDP port of the same number, if nothing else is.
func (s *sharing) listen(ctx context.Context) (err error) {
	f := s.flags
	way, err := s.app.network(f.engine.listen)
	if err != nil {
		return err
	}
	if f.httpGiven() {
		if s.listener, err = way.Listen(ctx, "tcp", f.http); err != nil {
			return fmt.Errorf("serving the page: %w; choose another address with --http", err)
		}
	} else {
		_, usual, err := net.SplitHostPort(f.http)
		if err != nil {
			return err
		}
		ports := []string{usual, "0"}
		if s.memory.Port != 0 {
			ports = append([]string{strconv.Itoa(s.memory.Port)}, ports...)
		}
		for _, port := range ports {
			if s.listener, err = way.Listen(ctx, "tcp", net.JoinHostPort(f.engine.listen, port)); err == nil {
				break
			}
		}
		if s.listener == nil {
			return fmt.Errorf("serving the page: %w", err)
		}
	}
	s.moved = !f.httpGiven() && s.memory.Port != 0 && s.memory.Port != portOf(s.listener.Addr())
	if conn, err := way.ListenPacket(ctx, "udp", s.listener.Addr().String()); err == nil {
		s.packets = conn.(*net.UDPConn) // as package network says of "udp"
	} else {
		s.app.warn("", fmt.Sprintf("browsers behind NATs are reached by TURN over TCP only: UDP port %d: %v", portOf(s.listener.Addr()), err))
	}
	if f.tls.only {
		s.inner, err = way.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	return err
}

// remember keeps the ports for the next time. When others have them now, they may be free
// again then.
func (s *sharing) remember() error {
	changed := false
	for _, p := range []struct {
		kept  *int
		now   int
		given bool
	}{
		{&s.memory.Port, portOf(s.listener.Addr()), s.flags.httpGiven()},
		{&s.memory.PeerPort, portOf(s.engine.UDPAddr()), s.flags.engine.portGiven()},
	} {
		if *p.kept == 0 || p.given && *p.kept != p.now {
			*p.kept, changed = p.now, true
		}
	}
	if !changed {
		return nil
	}
	return s.memory.Save()
}

// prepare makes what answers HTTP, WebSocket and TURN at the TCP port. TURN over UDP is served
// from then on.
func (s *sharing) prepare() error {
	f := s.flags
	tlsConfig, err := s.side.certs.load(s.app, &f.tls, s.listener)
	if err != nil {
		return err
	}
	s.names = s.side.certs.names()
	s.links = findLinks(f, s.listener.Addr(), tlsConfig != nil, s.names)
	s.files = stream.New(stream.Config{Torrents: s.known, Pending: s.pending, HostChecked: true, Style: web.StyleSheet(), Origins: f.allowed, Logger: s.app.logger()})
	if f.receive != "" {
		if s.receiver, err = s.newReceiver(); err != nil {
			return err
		}
	}
	if s.packets != nil {
		if err := s.side.servePackets(s.packets, &s.serving); err != nil {
			return err
		}
	}
	s.page = share.New(s.config(tlsConfig != nil))
	s.splitter = port.Listen(s.listener, port.Config{TLS: tlsConfig, RefusePlain: f.tls.only, TURN: s.side.relay.ServeConn, Logger: s.app.logger()})
	return nil
}

func (s *sharing) serve() {
	s.background(s.splitter)
	if s.inner != nil {
		s.background(s.inner)
	}
}

func (s *sharing) config(secure bool) share.Config {
	f := s.flags
	config := share.Config{
		Title: "Shared files", Torrents: s.all, Files: s.files, Tracker: s.side.tracker, ICE: s.side.iceServers,
		Public: f.public, Hosts: append(ownNames(), f.hosts...), RequireTLS: secure,
		Password: f.password, Views: f.views, Expire: f.expire, Key: s.memory.Key, Receiver: s.receiver, Logger: s.app.logger(),
		From: func(r *http.Request) netip.Addr {
			from, _ := s.side.tracker.RemoteAddr(r)
			return from
		},
	}
	config.Hosts = append(config.Hosts, s.names...)
	return config
}

// ownNames are the names by which a local network may know this machine.
func ownNames() []string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return nil
	}
	short, _, _ := strings.Cut(name, ".")
	return []string{name, short, short + ".local"}
}

func (s *sharing) background(listener net.Listener) {
	s.serving.Go(func() {
		err := s.files.ServeAll(listener, http.HandlerFunc(s.page.ServeHTTP), func(ctx context.Context, conn net.Conn) context.Context {
			if port.Secure(conn) {
				return share.SecureContext(ctx)
			}
			return ctx
		})
		if err != nil && !errors.Is(err, net.ErrClosed) {
			s.app.warn("", "the page is no longer served: "+err.Error())
		}
	})
}

// add gives the torrents to the engine.
func (s *sharing) add() error {
	tracker := s.engineTracker()
	for _, a := range s.added {
		own := newOwnTrackers(a.source)
		a.options.Trackers = append([]string{tracker}, a.options.Trackers...)
		s.side.allow(a.source.InfoHash())
		torrent, err := s.engine.Add(a.source, a.options)
		if err != nil {
			return err
		}
		t := newSharedTorrent(torrent)
		t.trackers, t.seeds = own.trackers, own.seeds
		s.torrents = append(s.torrents, t)
		s.session.add(torrent)
	}
	return nil
}

// engineTracker is the URL by which the engine announces to the tracker of this program.
func (s *sharing) engineTracker() string {
	listener := s.listener
	if s.inner != nil {
		listener = s.inner
	}
	host := "127.0.0.1"
	if tcp, ok := listener.Addr().(*net.TCPAddr); ok && !tcp.IP.IsUnspecified() {
		host = tcp.IP.String()
	}
	return "ws://" + net.JoinHostPort(host, strconv.Itoa(portOf(listener.Addr()))) + s.page.EnginePath()
}

// ownTrackers are what a source says besides its files.
type ownTrackers struct{ trackers, seeds []string }

func newOwnTrackers(src *meta.Source) (o ownTrackers) {
	if src.Magnet != nil {
		return ownTrackers{src.Magnet.Trackers, src.Magnet.WebSeeds}
	}
	for _, tier := range src.Torrent.Trackers {
		o.trackers = append(o.trackers, tier...)
	}
	o.seeds = src.Torrent.WebSeeds
	return o
}

// all are the torrents as package share sees them.
func (s *sharing) all() []share.Torrent {
	var all []share.Torrent
	for _, t := range s.torrents {
		all = append(all, t)
	}
	return all
}

// known are those whose files are known, as package stream sees them.
func (s *sharing) known() []stream.Torrent {
	var known []stream.Torrent
	for _, t := range s.torrents {
		if view, ok := t.files(); ok {
			known = append(known, view)
		}
	}
	return known
}

func (s *sharing) pending(infohash string) bool {
	for _, t := range s.torrents {
		if _, known := t.files(); !known && t.InfoHash() == infohash {
			return true
		}
	}
	return false
}

// run shows what happens until the share ends.
func (s *sharing) run(ctx context.Context) error {
	sharing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.onComplete = func(t *task) {
		s.app.event("seeding", seedingEvent{t.infoHash, s.magnetOf(t)})
	}
	s.magnet = func(t *task) string {
		for _, shared := range s.torrents {
			if shared.torrent == t.Torrent {
				return shared.Magnet([]string{s.announceURL()}, nil)
			}
		}
		return t.Magnet()
	}
	s.summary = s.summarize
	s.tell()
	s.serving.Go(func() { s.awaitEnd(sharing, stop) })
	if at, ok := s.peerAddress(); ok {
		s.serving.Go(func() { s.side.announceSelf(sharing, at, s.torrents) })
	}
	s.serving.Go(func() { s.side.certs.reload(sharing) })
	return s.show(sharing, true)
}

// peerAddress is where classic peers of other machines reach the engine.
func (s *sharing) peerAddress() (at netip.AddrPort, ok bool) {
	tcp, ok := s.engine.TCPAddr().(*net.TCPAddr)
	if !ok {
		return at, false
	}
	at = tcp.AddrPort()
	if at.Addr().IsUnspecified() {
		own := ownPublicAddress()
		if !own.IsValid() {
			own, _ = netip.ParseAddr(ownAddress(outward)) // which it is
		}
		at = netip.AddrPortFrom(own, at.Port())
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), true
}

// errShared ends the command when the share has ended by itself.
var errShared = errors.New("shared")

func (s *sharing) awaitEnd(ctx context.Context, stop context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
		return
	case <-s.page.Ended():
	}
	s.app.event("ended", struct{}{})
	s.app.line("the share has ended")
	select {
	case <-ctx.Done():
	case <-time.After(endGrace):
		stop(errShared)
	}
}

// close ends everything. It returns err, unless that is the end of the share, and what went
// wrong since.
func (s *sharing) close(err error) error {
	if s.splitter != nil {
		_ = s.splitter.Close() // what its listener says of that is nothing to anybody
	} else if s.listener != nil {
		_ = s.listener.Close()
	}
	if s.inner != nil {
		_ = s.inner.Close()
	}
	if s.page != nil {
		s.page.Close()
	}
	if s.files != nil {
		_ = s.files.Close() // ends all responses
	}
	if s.receiver != nil {
		_ = s.receiver.Close() // a folder's handle
	}
	if s.side != nil {
		s.side.close()
	}
	if s.packets != nil {
		_ = s.packets.Close()
	}
	if errors.Is(err, errShared) {
		err = nil
	}
	if s.session != nil {
		err = s.session.close(err)
	}
	s.serving.Wait()
	if errors.Is(err, errInterrupted) && untold(err) == nil {
		s.app.line("stopped; the same command gives the same link")
	}
	return err
}
