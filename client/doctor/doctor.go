package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/reach"
)

// State is the outcome of a check.
type State string

const (
	OK   State = "ok"
	Warn State = "warn" // less works than could
	Fail State = "fail" // something that matters is broken
	None State = "none" // not here, switched off, or not to be found out; nothing to worry about
)

// Check is what was found out about one thing.
type Check struct {
	Name    string // one of those of order
	State   State
	Text    string // what is
	Advice  string // what to do; "" nothing
	Details any    // for programs, nil or a struct
}

// Report is all of it.
type Report struct {
	Checks []Check
	// State is the worst of the checks'. Text says in words what matters.
	State State
	Text  string
}

// Names of checks, in the order in which they are shown, which is also that of causes before
// consequences.
const (
	nameNetwork = "network"
	nameIPv6    = "ipv6"
	nameDNS     = "names"
	namePorts   = "ports"
	nameMapping = "mapping"
	nameNAT     = "nat"
	nameTCP     = "tcp"
	nameUDP     = "udp"
	nameDHT     = "dht"
	nameTracker = "tracker"
	nameWebRTC  = "webrtc"
	nameClock   = "clock"
	nameFiles   = "open files"
	nameDisk    = "disk"
	nameState   = "state"
	nameTorrent = "torrent"
	namePeers   = "peers"
)

var order = []string{
	nameNetwork, nameIPv6, nameDNS, namePorts, nameMapping, nameNAT, nameTCP, nameUDP, nameDHT, nameTracker,
	nameWebRTC, nameClock, nameFiles, nameDisk, nameState, nameTorrent, namePeers,
}

const (
	// patience is how long answers are waited for: a tracker that is slow has time to
	// answer, and a person to wait.
	patience = 10 * time.Second
	// leaving is how long the client may take to end.
	leaving = 4 * time.Second
)

// Config says what is looked at.
type Config struct {
	// Client is the configuration of the client that works or does not. OnEvent is not used.
	Client client.Config
	// Dir is where downloads go.
	Dir string
	// Source, if not nil, is the torrent that finds no peers; Peers are addresses that the
	// user gave for it.
	Source *meta.Source
	Peers  []string
	// Trackers are those to be looked at besides the torrent's own.
	Trackers []string
	// OpenFiles is how many files the process may have open, 0 if there is no limit.
	OpenFiles int

	patience time.Duration // for tests; 0: patience
}

// visit is one run.
type visit struct {
	cfg    Config
	events *events
	client *client.Client // nil if it does not start

	mu     sync.Mutex
	checks []Check
	found  findings
}

// findings are what checks leave for those that come to conclusions. v.mu guards them.
type findings struct {
	noRoute     bool
	public      bool // our own address is
	nat         reach.NAT
	stunAsked   int
	stunAnswers int
	nodes       int
	names       []string // that were looked up
	unknown     []string // of them, what could not be
	udpTracker  bool     // one has answered
	trackers    []trackerResult
	clocks      []time.Duration // theirs minus ours
	torrent     *torrentResult
}

// Run looks at everything, which takes about ten seconds at most. The error is that of ctx.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg.patience = cmp.Or(cfg.patience, patience)
	v := &visit{cfg: cfg, events: newEvents()}
	bounded, cancel := context.WithTimeout(ctx, cfg.patience)
	defer cancel()
	v.found.noRoute = !v.checkNetwork()
	v.checkPorts()
	var looking sync.WaitGroup
	for _, look := range []func(context.Context){v.checkDisk, v.checkState, v.checkFiles, v.askTrackers} {
		looking.Go(func() { look(bounded) })
	}
	if v.client != nil {
		for _, look := range []func(context.Context){v.checkMapping, v.lookUp, v.askSTUN, v.checkDHT, v.checkWebRTC, v.search} {
			looking.Go(func() { look(bounded) })
		}
	}
	looking.Wait()
	v.conclude()
	if v.client != nil {
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_ = v.client.Close() // there is no state of use to anybody
		}()
		select {
		case <-closed:
		case <-time.After(leaving):
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	return v.report(), nil
}

// add notes the outcome of a check.
func (v *visit) add(name string, state State, advice, format string, args ...any) {
	v.addDetails(name, state, advice, nil, format, args...)
}

func (v *visit) addDetails(name string, state State, advice string, details any, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.checks = append(v.checks, Check{Name: name, State: state, Text: fmt.Sprintf(format, args...), Advice: advice, Details: details})
}

// find notes what others need.
func (v *visit) find(f func(*findings)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(&v.found)
}

// conclude adds what follows from several checks.
func (v *visit) conclude() {
	v.concludeNames()
	v.concludeNAT()
	v.concludeUDP()
	v.concludeTCP()
	v.concludeDHT()
	v.concludeTrackers()
	v.concludeClock()
	v.concludePeers()
}

// report sorts the checks and says what matters.
func (v *visit) report() *Report {
	r := &Report{Checks: v.checks, State: OK}
	slices.SortStableFunc(r.Checks, func(a, b Check) int {
		return slices.Index(order, a.Name) - slices.Index(order, b.Name)
	})
	var broken, weak []string
	for _, c := range r.Checks {
		switch c.State {
		case Fail:
			broken = append(broken, c.Text)
		case Warn:
			weak = append(weak, c.Name)
		}
	}
	weak = slices.Compact(weak)
	switch {
	case len(broken) == 1:
		r.State, r.Text = Fail, "Broken: "+broken[0]
	case len(broken) > 1:
		r.State, r.Text = Fail, fmt.Sprintf("Broken, in %d ways. First of all: %s", len(broken), broken[0])
	case len(weak) > 0:
		r.State, r.Text = Warn, "It works; more would be possible with a better "+strings.Join(weak, ", ")+"."
	default:
		r.Text = "All that matters works."
	}
	return r
}
