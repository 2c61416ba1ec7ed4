package client

import (
	"log/slog"

	"github.com/causeway-bt/causeway/client/discovery"
	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/webrtcwire"
	"github.com/causeway-bt/causeway/wire/transport"
)

// DefaultPort is the port for peers when none is asked for.
const DefaultPort = 6881

// Defaults of a Config.
const (
	DefaultSlots          = 8
	DefaultWebSlots       = 4
	DefaultMaxPeers       = 100
	DefaultMaxConnections = 500
	DefaultMemory         = 64 << 20
)

// Config configures a Client. The zero value of a field means what its comment
// says; the zero Config is a working one.
type Config struct {
	// ListenHost is the address that everything comes in at and goes out from; "" all
	// interfaces.
	ListenHost string
	// Port is for TCP and UDP alike, 0 any free one. With PortFallback any free
	// one is taken also when Port is in use.
	Port         int
	PortFallback bool
	// StateDir is the folder of resume state, "" none is kept.
	StateDir string
	// Encryption of the classic connections.
	Encryption transport.Encryption

	DisableTCP, DisableUTP, DisableDHT, DisableLSD, DisablePEX, DisableTrackers, DisableWebRTC bool
	// DisablePortMap leaves the gateway alone, which else is asked to pass the port on to us.
	DisablePortMap bool
	// DisableWebTrackers leaves public torrents without a WebSocket tracker as they
	// are; else they get DefaultWebTrackers.
	DisableWebTrackers bool

	// DHTBootstrap replaces discovery.DefaultBootstrap unless it is nil; host:port
	// each.
	DHTBootstrap []string
	// DownLimit is in bytes per second of blocks received, UpLimit of all that is
	// sent to peers but small messages; 0 no limit.
	DownLimit, UpLimit int64
	// STUN and TURN are ICE servers, as webrtcwire.Config takes them. STUN nil:
	// DefaultICEServers. With RelayOnly, browsers are reached through TURN only.
	STUN, TURN []string
	RelayOnly  bool
	// Slots is how many peers of a torrent are served at a time, 0 DefaultSlots.
	// WebSlots of them are kept for browsers while browsers want them, 0
	// DefaultWebSlots but at most half, negative none. The rest are kept for classic
	// peers in the same way.
	Slots, WebSlots int
	// MaxPeers bounds the connections of a torrent, MaxConnections those of all.
	MaxPeers, MaxConnections int
	// Memory bounds what unfinished pieces hold, in bytes.
	Memory int64
	// Allocation says how files get their space.
	Allocation disk.Allocation
	// Logger receives what is of interest when something does not work; nil
	// nothing is logged.
	Logger *slog.Logger
	// OnEvent is called for every event, from the goroutines of the client: it
	// must not wait. nil: events are dropped.
	OnEvent func(Event)
}

// STUNServers are the servers, host:port each, that are asked where the world sees us: if
// WebRTC asks them anyway, or if the user has named some. With RelayOnly nobody is to see
// our address.
func (c *Config) STUNServers() ([]string, error) {
	if c.RelayOnly || c.DisableWebRTC && c.STUN == nil {
		return nil, nil
	}
	urls := c.STUN
	if urls == nil {
		urls = swarm.DefaultICEServers
	}
	return webrtcwire.STUNServers(urls)
}

func (c *Config) setDefaults() {
	if c.Slots <= 0 {
		c.Slots = DefaultSlots
	}
	if c.WebSlots == 0 {
		c.WebSlots = min(DefaultWebSlots, c.Slots/2)
	}
	c.WebSlots = max(c.WebSlots, 0)
	if c.STUN == nil {
		c.STUN = swarm.DefaultICEServers
	}
	if c.MaxPeers <= 0 {
		c.MaxPeers = DefaultMaxPeers
	}
	if c.MaxConnections <= 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	if c.Memory <= 0 {
		c.Memory = DefaultMemory
	}
	if c.DHTBootstrap == nil {
		c.DHTBootstrap = discovery.DefaultBootstrap
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
}

// TorrentOptions are the choices for one torrent.
type TorrentOptions struct {
	// Dir is where its file, or its folder, goes; "" the current folder.
	Dir string
	// Select lists the files that are wanted, as meta.ParseSelection reads it; ""
	// what the magnet link says (BEP 53), or else all.
	Select string
	// Peers are addresses to dial, host:port each.
	Peers []string
	// LinkPeers are addresses to dial, too, that a magnet link names: a stranger's word,
	// by which nobody inside of this network is dialled.
	LinkPeers []string
	// Trackers are announced to besides the torrent's own, each a tier of its own.
	Trackers []string
	// TrackersOnly has its peers found by its trackers alone, as those of private torrents
	// are (BEP 27).
	TrackersOnly bool
	// MetadataOnly fetches the info dictionary and nothing else.
	MetadataOnly bool
	// Cache, if not 0, keeps at most so many bytes on disk, but at least head, tail and
	// a window (4 MiB) of the largest selected file: pieces that readers have passed
	// make room for those they want, and nothing else is downloaded. Nothing is left
	// of it at the end.
	Cache int64
	// Trusted says that the files have just been hashed, as when the torrent was
	// made of them: what is there is taken for right.
	Trusted bool
	// KeepLonger leaves files that are longer than in the torrent as they are, with a
	// warning: they are the user's own. Else they are cut once all that is wanted is
	// there, so that the result is what the torrent says.
	KeepLonger bool
	// Overwrite lets the torrent take files that are in its way and are not its own (see
	// disk.TakenError). Without, it fails.
	Overwrite bool
	// Sequential downloads pieces in order instead of the rarest first.
	Sequential bool
	// OnDemand downloads nothing but what readers want of the selected files, as Cache
	// does, but keeps it. The torrent is complete once all of them are there.
	OnDemand bool
	// Limits of this torrent.
	Limits Limits
	// Stopped leaves it stopped until Start.
	Stopped bool
}

// Limits bound one torrent, or with the fields that say so the whole client. They may
// be changed at any time.
type Limits struct {
	// Down and Up are in bytes per second, as Config.DownLimit and UpLimit; 0 none.
	Down, Up int64
	// MaxPeers, Slots and WebSlots are those of Config; 0: as there. They are not for
	// the whole client.
	MaxPeers, Slots, WebSlots int
}
