package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/swarm"
)

// searchPoll is how often it is looked whether peers have come, and searchSettle how long
// more are waited for after the first.
const (
	searchPoll   = 50 * time.Millisecond
	searchSettle = 1500 * time.Millisecond
)

// torrentResult is what was found of the torrent.
type torrentResult struct {
	name     string
	info     *meta.Info // nil: not known
	private  bool
	search   swarm.Search
	classic  int // peers that were connected, at most at a time
	browsers int
	err      error
}

// search looks for peers of the torrent, as a download would, until some are there.
func (v *visit) search(ctx context.Context) {
	src := v.cfg.Source
	if src == nil || v.found.noRoute {
		return
	}
	r := &torrentResult{}
	v.find(func(f *findings) { f.torrent = r }) // looked at when all have ended
	options := client.TorrentOptions{MetadataOnly: true, Peers: v.cfg.Peers, Trackers: v.cfg.Trackers}
	if src.Torrent != nil {
		r.info, r.private = src.Torrent.Info, src.Torrent.Info.Private
		options.TrackersOnly = r.private
		src = &meta.Source{Magnet: src.Torrent.Magnet()} // what is looked for is peers, not data
	}
	torrent, err := v.client.Add(src, options)
	if err != nil {
		r.err = err
		return
	}
	if v.nobodyToAsk(r.private) {
		ctx, cancel := context.WithTimeout(ctx, searchSettle) // a magnet link may name peers
		defer cancel()
		v.await(ctx, torrent, r)
		return
	}
	v.await(ctx, torrent, r)
}

// nobodyToAsk reports whether peers could only be those that the user named.
func (v *visit) nobodyToAsk(private bool) bool {
	return len(v.trackers()) == 0 && len(v.cfg.Peers) == 0 && (v.cfg.Client.DisableDHT && v.cfg.Client.DisableLSD || private)
}

// await waits for peers.
func (v *visit) await(ctx context.Context, torrent *client.Torrent, r *torrentResult) {
	r.name = torrent.Name()
	poll := time.NewTicker(searchPoll)
	defer poll.Stop()
	var first time.Time
	for ctx.Err() == nil && (first.IsZero() || time.Since(first) < searchSettle) {
		stats := torrent.Stats()
		r.search = torrent.Search(v.own)
		r.classic = max(r.classic, stats.Peers.TCP+stats.Peers.UTP)
		r.browsers = max(r.browsers, stats.Peers.WebRTC)
		if first.IsZero() && r.classic+r.browsers > 0 {
			first = time.Now()
		}
		if torrent.Err() != nil {
			break
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
		}
	}
	r.search = torrent.Search(v.own)
	if info := torrent.Info(); info != nil {
		r.info, r.private = info, info.Private
		r.name = info.Name
	}
	r.err = torrent.Err()
}

// own reports whether an address is this client, as others see it: trackers and the DHT name
// it, too. Behind a NAT that may be with any port; others of the same network are met by
// their inner addresses.
func (v *visit) own(addr netip.AddrPort) bool {
	status, _ := v.client.PortMapping()
	v.mu.Lock()
	defer v.mu.Unlock()
	outer := addr.Addr() == v.found.nat.Mapped.Addr() || addr.Addr() == status.External.Addr()
	return outer && !v.found.public || (outer || addr.Addr() == status.Internal.Addr()) && int(addr.Port()) == v.port()
}

// torrentDetails are those of "torrent".
type torrentDetails struct {
	InfoHash string `json:"infohash"`
	Name     string `json:"name"`
	Length   int64  `json:"length"` // bytes; 0: not known
	Private  bool   `json:"private"`
}

// peerDetails are those of "peers".
type peerDetails struct {
	Connected   int `json:"connected"`
	Browsers    int `json:"browsers"`
	Tracked     int `json:"named_by_trackers"`
	Discovered  int `json:"named_by_dht"`
	Exchanged   int `json:"named_by_peers"`
	Given       int `json:"given"`
	Dialling    int `json:"dialling"`
	Refused     int `json:"refused"`
	Silent      int `json:"silent"`
	Unreachable int `json:"unreachable"`
	HungUp      int `json:"hung_up"`
}

// concludePeers says what is known of the torrent, and why there are no peers.
func (v *visit) concludePeers() {
	r := v.found.torrent
	if r == nil {
		return
	}
	infoHash := v.cfg.Source.InfoHash()
	details := torrentDetails{InfoHash: fmt.Sprintf("%x", infoHash), Name: r.name, Private: r.private}
	switch {
	case r.err != nil:
		v.addDetails(nameTorrent, Fail, "", details, "%v", r.err)
		return
	case r.info != nil:
		details.Name, details.Length = r.info.Name, r.info.Length
		private := ""
		if r.private {
			private = ", private: its trackers alone find its peers"
		}
		v.addDetails(nameTorrent, OK, "", details, "%s: %s%s", r.info.Name, count(r.info.NumPieces(), "piece"), private)
	default:
		v.addDetails(nameTorrent, None, "", details, "%s: what is in it is not known yet; peers tell", r.name)
	}
	s := r.search
	peers := peerDetails{
		Connected: r.classic + r.browsers, Browsers: r.browsers, Tracked: s.Tracked, Discovered: s.Discovered, Exchanged: s.Exchanged,
		Given: s.Given, Dialling: s.Dialling, Refused: s.Refused, Silent: s.Silent, Unreachable: s.Unreachable, HungUp: s.HungUp,
	}
	if n := r.classic + r.browsers; n > 0 {
		v.addDetails(namePeers, OK, "", peers, "Connected to %s%s", count(n, "peer"), among(r.browsers))
		return
	}
	why, advice := v.whyNoPeers(r)
	v.addDetails(namePeers, Fail, advice, peers, "No peers: %s", why)
}

func among(browsers int) string {
	if browsers == 0 {
		return ""
	}
	return fmt.Sprintf(", %s among them", count(browsers, "browser"))
}

// whyNoPeers finds the first thing in the chain from a name to a connection that does not
// work.
func (v *visit) whyNoPeers(r *torrentResult) (why, advice string) {
	f, s, cfg := &v.found, r.search, v.cfg.Client
	dht := !cfg.DisableDHT && !r.private
	up, seeds, leeches := 0, 0, 0
	for _, t := range f.trackers {
		if t.err == nil {
			up++
			seeds, leeches = max(seeds, t.swarm.Seeds), max(leeches, t.swarm.Leeches)
		}
	}
	const another = "Name a tracker that has it with --tracker, or a peer's address with --peer"
	switch named := s.Named(); {
	case v.canTryNobody():
		return "TCP, uTP and WebRTC are switched off, so none can be tried", "Leave one of --no-tcp, --no-utp and --no-webrtc out"
	case named > 0:
		return v.whyNoneConnected(named, s)
	case len(f.trackers) == 0 && !dht && r.private:
		return "the torrent is private, and names no tracker to find its peers by", another
	case len(f.trackers) == 0 && !dht:
		return "nobody is asked: there is no tracker, and the DHT is switched off", "Leave --no-dht out, or name a tracker with --tracker"
	case up == 0 && (!dht || f.nodes == 0):
		var down []string
		if len(f.trackers) > 0 {
			down = append(down, fmt.Sprintf("no tracker answers (%s asked)", count(len(f.trackers), "tracker")))
		}
		if dht {
			down = append(down, "the DHT is not reached")
		}
		return "nobody who could name them answers: " + strings.Join(down, ", and "), "See above what keeps them from answering"
	case up > 0 && seeds+leeches > 0:
		return fmt.Sprintf("trackers count %s and %s, but name none whom we may dial", count(seeds, "seed"), count(leeches, "leech")),
			"These may be browsers, or ourselves; wait, as trackers name others later"
	case up > 0 && dht && f.nodes > 0:
		return "trackers and the DHT answer, and know nobody who has it", "It may be dead, or mistyped; " + lower(another)
	case up > 0:
		return "the trackers answer, and know nobody who has it", "It may be dead; " + lower(another)
	default:
		return "the DHT answers, and knows nobody who has it", "It may be dead, or mistyped, or be found by trackers only; " + lower(another)
	}
}

// canTryNobody reports whether all transports are off.
func (v *visit) canTryNobody() bool {
	return v.cfg.Client.DisableTCP && v.cfg.Client.DisableUTP && v.cfg.Client.DisableWebRTC
}

// whyNoneConnected: addresses are known.
func (v *visit) whyNoneConnected(named int, s swarm.Search) (why, advice string) {
	var outcomes []string
	for _, o := range []struct {
		n    int
		what string
	}{
		{s.Refused, "refused the connection"}, {s.Silent + s.Dialling, "do not answer"},
		{s.Unreachable, "cannot be reached from here"}, {s.HungUp, "hung up"}, {s.Joined, "were connected and left"},
	} {
		if o.n > 0 {
			outcomes = append(outcomes, fmt.Sprintf("%d %s", o.n, o.what))
		}
	}
	who := "1 address of a peer is known"
	if named > 1 {
		who = fmt.Sprintf("%d addresses of peers are known", named)
	}
	if v.cfg.Client.DisableTCP && v.cfg.Client.DisableUTP {
		return who + ", but TCP and uTP are switched off, so none can be tried", "Leave --no-tcp or --no-utp out"
	}
	why = who + ", but none can be connected to: " + strings.Join(outcomes, ", ")
	switch {
	case s.HungUp > 0 && s.HungUp >= s.Refused+s.Silent+s.Dialling:
		advice = "Try --encryption off or require: they may take only one kind; or they have the torrent no more"
	case s.Refused > s.Silent+s.Dialling:
		advice = "They have probably ended their programs; wait for others"
	default:
		advice = "They may be behind NATs or gone, or a firewall here lets no connections out; a port that peers can reach (see mapping) lets them connect to us"
	}
	return why, advice
}

func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }
