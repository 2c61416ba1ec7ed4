package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/discovery"
	"github.com/causeway-bt/causeway/tracker"
)

const (
	// dhtPoll is how often the nodes are counted, and dhtSettle how long more are waited for
	// once the first is there.
	dhtPoll   = 20 * time.Millisecond
	dhtSettle = 2 * time.Second
	// maxTrackers bounds the trackers that are asked: torrents name up to 512.
	maxTrackers = 100
	// clockTolerance is how far a clock may be off before certificates and signatures suffer,
	// and clockBroken from when on they fail.
	clockTolerance = time.Minute
	clockBroken    = 24 * time.Hour
)

// dhtDetails are those of "dht".
type dhtDetails struct {
	Nodes int     `json:"nodes"`
	First float64 `json:"first_answer"` // seconds; 0: none
}

// checkDHT waits for nodes.
func (v *visit) checkDHT(ctx context.Context) {
	if v.cfg.Client.DisableDHT {
		v.add(nameDHT, None, "", "The DHT is switched off")
		return
	}
	if v.found.noRoute {
		return
	}
	began := time.Now()
	var first time.Duration
	poll := time.NewTicker(dhtPoll)
	defer poll.Stop()
	for ctx.Err() == nil && (first == 0 || time.Since(began) < first+dhtSettle) {
		if n := v.client.DHTNodes(); n > 0 && first == 0 {
			first = time.Since(began)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
		}
	}
	nodes := v.client.DHTNodes()
	v.find(func(f *findings) { f.nodes = nodes })
	if nodes > 0 {
		v.addDetails(nameDHT, OK, "", dhtDetails{nodes, first.Seconds()}, "The DHT answers: %s, the first after %s",
			count(nodes, "node"), first.Round(10*time.Millisecond))
	}
}

// concludeDHT says why the DHT does not answer.
func (v *visit) concludeDHT() {
	if v.client == nil || v.cfg.Client.DisableDHT || v.found.noRoute || v.found.nodes > 0 || v.loopback() && v.cfg.Client.DHTBootstrap == nil {
		return
	}
	udp := v.found.stunAnswers > 0 || v.found.udpTracker
	starts := v.cfg.Client.DHTBootstrap
	if starts == nil {
		starts = discovery.DefaultBootstrap
	}
	state := Fail
	instead := ""
	if slices.ContainsFunc(v.found.trackers, func(t trackerResult) bool { return t.err == nil }) {
		state, instead = Warn, "; peers are found by trackers only"
	}
	advice := "See whether a firewall lets UDP through"
	switch {
	case v.nameless():
		advice = "See above: names cannot be looked up"
	case udp:
		advice = "Name a node that is up with --dht-bootstrap HOST:PORT, or find peers by a tracker (--tracker)"
	}
	v.addDetails(nameDHT, state, advice, dhtDetails{}, "The DHT is not reached: no node answers, of %s%s", strings.Join(starts, ", "), instead)
}

// trackerResult is what a tracker answered.
type trackerResult struct {
	url    string
	err    error
	silent bool // it does not tell what was asked, which is no fault
	swarm  tracker.Swarm
	took   time.Duration
}

// trackerDetails are those of "tracker".
type trackerDetails struct {
	URL     string  `json:"url"`
	Seeds   int     `json:"seeds"`
	Leeches int     `json:"leeches"`
	Took    float64 `json:"took"` // seconds
}

// trackers are all that are to be asked, each once.
func (v *visit) trackers() []string {
	if v.cfg.Client.DisableTrackers {
		return nil
	}
	tiers := [][]string{v.cfg.Trackers}
	if src := v.cfg.Source; src != nil {
		private := false
		if src.Torrent != nil {
			tiers, private = append(tiers, src.Torrent.Trackers...), src.Torrent.Info.Private
		} else {
			tiers = append(tiers, src.Magnet.Trackers)
		}
		if !private && !v.cfg.Client.DisableWebRTC && !v.cfg.Client.DisableWebTrackers {
			tiers = client.WithWebTrackers(tiers) // as the client has them
		}
	}
	urls := slices.Concat(tiers...)
	var once []string
	for _, u := range urls {
		u = strings.TrimSpace(u)
		if v.cfg.Client.DisableWebRTC && tracker.IsWebSocket(u) {
			continue // that is where browsers are found
		}
		if !slices.Contains(once, u) && len(once) < maxTrackers {
			once = append(once, u)
		}
	}
	return once
}

// askTrackers asks all trackers for the size of the swarm.
func (v *visit) askTrackers(ctx context.Context) {
	urls := v.trackers()
	if len(urls) == 0 || v.client == nil || v.found.noRoute {
		return
	}
	var infoHash [20]byte // one that nobody has, without a torrent
	if v.cfg.Source != nil {
		infoHash = v.cfg.Source.InfoHash()
	}
	scraper := client.Scraper{Network: v.client.Network(), Logger: v.cfg.Client.Logger, OnDate: func(theirs, ours time.Time) {
		v.find(func(f *findings) { f.clocks = append(f.clocks, theirs.Sub(ours)) })
	}}
	var results []trackerResult
	for _, a := range scraper.Scrape(ctx, infoHash, urls) {
		results = append(results, trackerResult{url: a.URL, err: a.Err, swarm: a.Swarm, took: a.Took})
	}
	v.find(func(f *findings) {
		f.trackers = results
		f.udpTracker = slices.ContainsFunc(results, func(t trackerResult) bool { return t.err == nil && strings.HasPrefix(t.url, "udp") })
	})
}

// concludeTrackers tells of each tracker. Where one refuses to be asked for the size of a
// swarm, how it took an announce counts.
func (v *visit) concludeTrackers() {
	if v.client == nil || v.found.noRoute {
		return
	}
	announced := v.events.trackers()
	down := 0
	for i := range v.found.trackers {
		t := &v.found.trackers[i]
		if t.err != nil {
			if a, ok := announced[t.url]; ok && a.OK {
				t.err, t.swarm = nil, tracker.Swarm{Seeds: a.Seeds, Leeches: a.Leeches}
			} else if answers(t.err) && v.cfg.Source == nil {
				t.silent = true
			} else if ok && a.Message != "" {
				t.err = fmt.Errorf("%s", a.Message)
			}
		}
		if t.err != nil && !t.silent {
			down++
		}
	}
	for i := range v.found.trackers {
		t := &v.found.trackers[i]
		if announced[t.url].OK { // and counts us
			t.swarm.Leeches = max(t.swarm.Leeches-1, 0)
		}
		details := trackerDetails{t.url, t.swarm.Seeds, t.swarm.Leeches, t.took.Seconds()}
		switch {
		case t.silent:
			v.addDetails(nameTracker, None, "", details, "%s: %v", t.url, t.err)
		case t.err == nil && v.cfg.Source != nil:
			v.addDetails(nameTracker, OK, "", details, "%s answers after %s: %s and %s but us", t.url, t.took.Round(10*time.Millisecond),
				count(t.swarm.Seeds, "seed"), count(t.swarm.Leeches, "leech"))
		case t.err == nil:
			v.addDetails(nameTracker, OK, "", details, "%s answers after %s", t.url, t.took.Round(10*time.Millisecond))
		case down == len(v.found.trackers) && v.found.nodes == 0:
			v.addDetails(nameTracker, Fail, "Name another tracker with --tracker, or do without --no-dht", details, "%s: %v", t.url, t.err)
		default:
			v.addDetails(nameTracker, Warn, "", details, "%s: %v", t.url, t.err)
		}
	}
}

// concludeClock compares our clock with those of HTTP trackers.
func (v *visit) concludeClock() {
	if len(v.found.clocks) == 0 {
		v.add(nameClock, None, "", "No HTTP tracker was there to compare the clock with; it says %s", time.Now().Format(time.RFC1123Z))
		return
	}
	slices.Sort(v.found.clocks)
	off := v.found.clocks[len(v.found.clocks)/2]
	details := struct {
		Off float64 `json:"off"` // seconds that it is late
	}{off.Seconds()}
	late := "slow"
	if off < 0 {
		late = "fast"
	}
	switch off = off.Abs(); {
	case off < clockTolerance:
		v.addDetails(nameClock, OK, "", details, "The clock is right")
	case off < clockBroken:
		v.addDetails(nameClock, Warn, "Set it, or have the system do so (NTP)", details, "The clock is %s by %s", late, off.Round(time.Second))
	default:
		v.addDetails(nameClock, Fail, "Set it, or have the system do so (NTP): https and wss trackers cannot be trusted with it", details, "The clock is %s by %s", late, off.Round(time.Hour))
	}
}

// checkWebRTC looks at how browsers could reach us.
func (v *visit) checkWebRTC(ctx context.Context) {
	if v.cfg.Client.DisableWebRTC {
		v.add(nameWebRTC, None, "", "WebRTC is switched off")
		return
	}
	if v.found.noRoute {
		return
	}
	types, err := v.client.ICECandidates(ctx)
	details := struct {
		Candidates []string `json:"candidates"`
	}{types}
	turn := len(v.cfg.Client.TURN) > 0
	has := func(kind string) bool { return slices.Contains(types, kind) }
	switch {
	case err != nil:
		v.add(nameWebRTC, Fail, "", "Browsers cannot be connected to: %v", err)
	case turn && !has("relay"):
		v.addDetails(nameWebRTC, Fail, "See whether the server is up and USER and PASSWORD of --turn are right", details, "The TURN server does not relay for us")
	case has("relay"):
		v.addDetails(nameWebRTC, OK, "", details, "Browsers can be met directly, and through the TURN server")
	case has("srflx"), v.found.public:
		v.addDetails(nameWebRTC, OK, "", details, "Browsers can be met%s", map[bool]string{true: " by what STUN servers tell", false: " at our public address"}[has("srflx")])
	case v.loopback():
		v.addDetails(nameWebRTC, None, "", details, "Browsers on this machine can be met")
	default:
		v.addDetails(nameWebRTC, Warn, "Name a STUN server that is up with --stun, or a TURN server with --turn", details,
			"Browsers can be met on the local network only: no STUN server answers")
	}
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "ch"), strings.HasSuffix(what, "ss"):
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// events keeps what the client tells.
type events struct {
	mu        sync.Mutex
	byTracker map[string]client.TrackerEvent
	noBrowser string
	failed    error
}

func newEvents() *events { return &events{byTracker: make(map[string]client.TrackerEvent)} }

func (e *events) put(event client.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch event := event.(type) {
	case client.TrackerEvent:
		if _, known := e.byTracker[event.URL]; known || len(e.byTracker) < maxTrackers {
			e.byTracker[event.URL] = event
		}
	case client.NoBrowserEvent:
		e.noBrowser = event.Reason
	case client.StateEvent:
		if event.Err != nil {
			e.failed = event.Err
		}
	}
}

func (e *events) trackers() map[string]client.TrackerEvent {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make(map[string]client.TrackerEvent, len(e.byTracker))
	for url, event := range e.byTracker {
		all[url] = event
	}
	return all
}

// answers reports whether an error is a tracker's own word.
func answers(err error) bool { return errors.Is(err, tracker.ErrNoScrape) }
