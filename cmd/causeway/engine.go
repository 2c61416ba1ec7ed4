package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/webrtcwire"
	"github.com/causeway-bt/causeway/wire/transport"
)

// engineFlags are the flags of all commands that talk to peers.
type engineFlags struct {
	listen                             string
	port                               int
	portGiven                          func() bool
	peers, trackers, bootstrap         []string
	noDHT, noLSD, noPEX, noTrk         bool
	noTCP, noUTP, noPortMap            bool
	noWebRTC, noWebTrackers, relayOnly bool
	stun, turn                         []string
	webSlots                           int
	webSlotsGiven                      func() bool
	preallocate                        bool
	down, up                           byteSize
	encryption, state                  string
	slots                              int
}

// encryptionModes are the values of --encryption.
var encryptionModes = []string{"off", "prefer", "require"}

func (f *engineFlags) add(flags *pflag.FlagSet) {
	group(flags, groupStorage, func() {
		flags.BoolVar(&f.preallocate, "preallocate", false, "take the disk space of files at the start, not as data comes in")
		flags.StringVar(&f.state, "state", "", "`FOLDER` of the resume state (default "+shownStateDir()+")")
	})
	group(flags, groupPeers, func() {
		flags.StringVar(&f.listen, "listen", "", "`ADDRESS` that peers connect to, and that all connections go out from (default all interfaces)")
		flags.IntVar(&f.port, "port", client.DefaultPort, "TCP and UDP `PORT` for peers, 0 for any (default 6881, or any if that is taken)")
		flags.StringArrayVar(&f.peers, "peer", nil, "dial the peer at `HOST:PORT` (repeatable)")
		flags.StringArrayVar(&f.trackers, "tracker", nil, "announce to the tracker at `URL` too (repeatable)")
		flags.StringArrayVar(&f.bootstrap, "dht-bootstrap", nil, "start the DHT from the node at `HOST:PORT`, not from the public ones (repeatable)")
		flags.StringVar(&f.encryption, "encryption", "prefer", "`MODE` of connections: "+alternatives(encryptionModes))
		oneOf(flags, "encryption", encryptionModes...)
		flags.BoolVar(&f.noDHT, "no-dht", false, "find no peers by DHT")
		flags.BoolVar(&f.noLSD, "no-lsd", false, "find no peers on the local network")
		flags.BoolVar(&f.noPEX, "no-pex", false, "exchange no peers with peers")
		flags.BoolVar(&f.noTrk, "no-trackers", false, "announce to no tracker")
		flags.BoolVar(&f.noTCP, "no-tcp", false, "use no TCP connections to peers")
		flags.BoolVar(&f.noUTP, "no-utp", false, "use no uTP connections to peers")
		flags.BoolVar(&f.noPortMap, "no-portmap", false, "do not ask the gateway (by PCP, NAT-PMP or UPnP) to let peers in at our port")
	})
	group(flags, groupBrowsers, func() {
		flags.BoolVar(&f.noWebRTC, "no-webrtc", false, "connect to no browsers")
		flags.BoolVar(&f.noWebTrackers, "no-web-trackers", false, "add no WebSocket trackers to torrents without one")
		flags.StringArrayVar(&f.stun, "stun", nil, "ask the STUN server at `URL` for our address, instead of public ones (repeatable)")
		flags.StringArrayVar(&f.turn, "turn", nil, "relay through the TURN server at `URL`, turn:USER:PASSWORD@HOST:PORT (repeatable)")
		flags.BoolVar(&f.relayOnly, "relay-only", false, "connect to browsers through TURN servers only")
	})
	group(flags, groupLimits, func() {
		flags.Var(&f.down, "down-limit", "receive at most `RATE` bytes per second in all, as 500K or 2M; K is 1024 (default no limit)")
		flags.Var(&f.up, "up-limit", "send at most `RATE` bytes per second in all (default no limit)")
		flags.IntVar(&f.slots, "slots", client.DefaultSlots, "upload to at most `NUMBER` peers at a time, for each torrent")
		flags.IntVar(&f.webSlots, "web-slots", client.DefaultWebSlots, "keep `NUMBER` of the upload slots for browsers (default 4, or half of --slots if that is less)")
	})
	f.portGiven = func() bool { return flags.Changed("port") }
	f.webSlotsGiven = func() bool { return flags.Changed("web-slots") }
}

// check finds what is wrong with the flags, before anything is started.
func (f *engineFlags) check() error {
	if f.port < 0 || f.port > 65535 {
		return usagef("--port must be from 0 to 65535, not %d", f.port)
	}
	if f.slots < 1 {
		return usagef("--slots must be at least 1, not %d", f.slots)
	}
	if f.webSlotsGiven() && (f.webSlots < 0 || f.webSlots > f.slots) {
		return usagef("--web-slots must be from 0 to --slots (%d), not %d", f.slots, f.webSlots)
	}
	for _, server := range f.stun {
		if err := webrtcwire.CheckICEServer(server); err != nil {
			return usagef("--stun needs a URL such as stun:stun.example:3478; %v", err)
		}
	}
	for _, server := range f.turn {
		if err := webrtcwire.CheckICEServer(server); err != nil {
			return usagef("--turn needs a URL such as turn:USER:PASSWORD@turn.example:3478; %v", err)
		}
	}
	if f.relayOnly && len(f.turn) == 0 {
		return usagef("--relay-only needs a TURN server; name one with --turn")
	}
	if f.noTCP && f.noUTP && len(f.peers) > 0 {
		return usagef("--peer is dialled over TCP or uTP, which --no-tcp and --no-utp forbid; leave one of them out")
	}
	if _, err := transport.ParseEncryption(f.encryption); err != nil {
		return usagef("--encryption must be %s, not %q", alternatives(encryptionModes), f.encryption)
	}
	for flag, addresses := range map[string][]string{"--peer": f.peers, "--dht-bootstrap": f.bootstrap} {
		for _, address := range addresses {
			host, port, err := net.SplitHostPort(address)
			n, portErr := strconv.ParseUint(port, 10, 16)
			if err != nil || portErr != nil || host == "" || n == 0 {
				return usagef("%s needs HOST:PORT, such as 192.0.2.1:6881, not %q", flag, address)
			}
		}
	}
	for _, tracker := range f.trackerList() {
		if !meta.IsTrackerURL(tracker) {
			return usagef("--tracker needs an http, https, udp, ws or wss URL, not %q", tracker)
		}
	}
	return nil
}

// keptForBrowsers is the number of slots as client.Config has it.
func (f *engineFlags) keptForBrowsers() int {
	switch {
	case !f.webSlotsGiven():
		return 0
	case f.webSlots == 0:
		return -1
	}
	return f.webSlots
}

// trackerList returns the URLs of all --tracker flags, one by one.
func (f *engineFlags) trackerList() []string { return slices.Concat(tiers(f.trackers)...) }

// config is what the flags say. onEvent is as in client.Config.
func (a *app) config(f *engineFlags, onEvent func(client.Event)) (config client.Config, err error) {
	if err := f.check(); err != nil {
		return config, err
	}
	encryption, err := transport.ParseEncryption(f.encryption)
	if err != nil {
		return config, err
	}
	state, err := f.stateDir()
	if err != nil {
		return config, err
	}
	config = client.Config{
		ListenHost: f.listen, Port: f.port, PortFallback: !f.portGiven(),
		StateDir: state, Encryption: encryption,
		DisableTCP: f.noTCP, DisableUTP: f.noUTP, DisableDHT: f.noDHT, DisableLSD: f.noLSD, DisablePEX: f.noPEX, DisableTrackers: f.noTrk,
		DHTBootstrap: f.bootstrap, DownLimit: int64(f.down), UpLimit: int64(f.up), Slots: f.slots,
		DisablePortMap: f.noPortMap,
		DisableWebRTC:  f.noWebRTC, DisableWebTrackers: f.noWebTrackers,
		STUN: f.stun, TURN: f.turn, RelayOnly: f.relayOnly, WebSlots: f.keptForBrowsers(),
		OnEvent: onEvent,
	}
	if f.preallocate {
		config.Allocation = disk.Preallocated
	}
	if a.verbose {
		config.Logger = slog.New(slog.NewTextHandler(logWriter{&a.printer}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return config, nil
}

// start runs a client. onEvent is as in client.Config.
func (a *app) start(f *engineFlags, onEvent func(client.Event)) (*client.Client, error) {
	config, err := a.config(f, onEvent)
	if err != nil {
		return nil, err
	}
	tuneHeap()
	tuneProcessors()
	engine, err := client.New(config)
	if err != nil {
		return nil, err
	}
	listening := listeningEvent{UDP: engine.UDPAddr().String()}
	if address := engine.TCPAddr(); address != nil {
		listening.TCP = address.String()
	}
	id := engine.PeerID()
	listening.PeerID = string(id[:])
	a.event("listening", listening)
	return engine, nil
}

// stateDir is where resume state lives.
func (f *engineFlags) stateDir() (string, error) {
	if f.state != "" {
		return f.state, nil
	}
	state, err := defaultStateDir()
	if err != nil {
		return "", usagef("there is no place for the resume state: %v; name a folder with --state", err)
	}
	return state, nil
}

type listeningEvent struct {
	TCP    string `json:"tcp"`
	UDP    string `json:"udp"`
	PeerID string `json:"peer_id"`
}

// defaultStateDir is where programs of this kind keep their state on each system.
func defaultStateDir() (string, error) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		folder, err := os.UserConfigDir()
		return filepath.Join(folder, "causeway"), err
	}
	if folder := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(folder) {
		return filepath.Join(folder, "causeway"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state", "causeway"), err
}

// shownStateDir is defaultStateDir as people write it, the same for all of them.
func shownStateDir() string {
	switch runtime.GOOS {
	case "windows":
		return `%AppData%\causeway`
	case "darwin":
		return "~/Library/Application Support/causeway"
	}
	return "~/.local/state/causeway"
}

// fetchMetadata gets the info dictionary of a magnet link from peers, and shows what
// happens meanwhile.
func (a *app) fetchMetadata(ctx context.Context, src *meta.Source, f *engineFlags) (*meta.Torrent, error) {
	s, err := a.open(f)
	if err != nil {
		return nil, err
	}
	torrent, err := s.fetchInfo(ctx, src, client.TorrentOptions{Peers: f.peers, Trackers: f.trackerList()}, func(*client.Torrent) {})
	return torrent, s.close(err)
}
