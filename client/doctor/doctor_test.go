package doctor

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/client/reach"
	"github.com/causeway-bt/causeway/client/swarm"
	"github.com/causeway-bt/causeway/tracker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// local is a client that stays on this machine.
func local(t *testing.T) Config {
	return Config{
		Client: client.Config{
			ListenHost: "127.0.0.1", StateDir: t.TempDir(), DisableDHT: true, DisableLSD: true, DisableWebRTC: true, DisablePortMap: true,
		},
		Dir: t.TempDir(), OpenFiles: 4096,
	}
}

// look runs doctor, and returns the check of a name.
func look(t *testing.T, cfg Config, name string) (Check, *Report) {
	t.Helper()
	cfg.patience = 3 * time.Second
	report, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(report.Checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no check %q in %+v", name, report.Checks)
	}
	return report.Checks[i], report
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := local(t)
	cfg.Client.Port = l.Addr().(*net.TCPAddr).Port
	if c, report := look(t, cfg, namePorts); c.State != Fail || !strings.Contains(c.Text, "is taken") || report.State != Fail {
		t.Errorf("of a port that was asked for: %+v; %+v", c, report)
	}
	cfg.Client.PortFallback = true
	if c, report := look(t, cfg, namePorts); c.State != Warn || !strings.Contains(c.Text, "is used instead") || report.State != Warn {
		t.Errorf("of the default port: %+v; %+v", c, report)
	}
}

// A tracker's clock tells that ours is wrong; a tracker that is down is told with the reason.
func TestClockAndTrackers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		off   time.Duration // of the tracker's clock
		state State
		text  string
	}{{0, OK, "right"}, {10 * time.Minute, Warn, "slow by "}, {-72 * time.Hour, Fail, "fast by "}} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(test.off).UTC().Format(http.TimeFormat))
			_, _ = w.Write([]byte("d5:filesdee"))
		}))
		cfg := local(t)
		cfg.Trackers = []string{server.URL + "/announce"}
		if c, _ := look(t, cfg, nameClock); c.State != test.state || !strings.Contains(c.Text, test.text) {
			t.Errorf("a clock off by %v: %+v", test.off, c)
		}
		if c, _ := look(t, cfg, nameTracker); c.State != OK {
			t.Errorf("the tracker: %+v", c)
		}
		server.Close()
		if c, _ := look(t, cfg, nameTracker); c.State != Fail || !strings.Contains(c.Text, "refused") {
			t.Errorf("the tracker when it is down: %+v", c)
		}
	}
}

func TestOpenFiles(t *testing.T) {
	for n, want := range map[int]State{0: OK, 64: Fail, 512: Warn, 4096: OK} {
		v := &visit{cfg: Config{OpenFiles: n}}
		v.checkFiles(t.Context())
		if got := v.checks[0].State; got != want {
			t.Errorf("%d files: %s, want %s", n, got, want)
		}
	}
}

// Peers that cannot be there are told at once, with what switches them off.
func TestNobodyToAsk(t *testing.T) {
	t.Parallel()
	cfg := local(t)
	cfg.Source = &meta.Source{Magnet: &meta.Magnet{InfoHash: [20]byte{1}}}
	if c, _ := look(t, cfg, namePeers); c.State != Fail || !strings.Contains(c.Text, "nobody is asked") {
		t.Errorf("without trackers and DHT: %+v", c)
	}
	cfg.Client.DisableTCP, cfg.Client.DisableUTP = true, true
	if c, _ := look(t, cfg, namePeers); c.State != Fail || !strings.Contains(c.Text, "none can be tried") {
		t.Errorf("without transports: %+v", c)
	}
}

func TestWhyNoPeers(t *testing.T) {
	up := trackerResult{url: "udp://up.example:1"}
	counts := trackerResult{url: "udp://up.example:1", swarm: tracker.Swarm{Seeds: 3}}
	down := trackerResult{url: "udp://down.example:1", err: net.ErrClosed}
	for _, test := range []struct {
		name     string
		trackers []trackerResult
		nodes    int
		search   swarm.Search
		private  bool
		why      string
		advice   string
	}{
		{"dead", []trackerResult{up}, 50, swarm.Search{}, false, "trackers and the DHT answer, and know nobody", "dead"},
		{"dead, DHT alone", nil, 50, swarm.Search{}, false, "the DHT answers, and knows nobody", "--tracker"},
		{"nobody answers", []trackerResult{down}, 0, swarm.Search{}, false, "no tracker answers (1 tracker asked), and the DHT is not reached", "See above"},
		{"private without trackers", nil, 50, swarm.Search{}, true, "names no tracker", "--tracker"},
		{"private, tracker down", []trackerResult{down}, 50, swarm.Search{}, true, "no tracker answers (1 tracker asked)", "See above"},
		{"counted, but not named", []trackerResult{counts}, 0, swarm.Search{}, false, "trackers count 3 seeds and 0 leeches, but name none", "browsers"},
		{"all refuse", []trackerResult{up}, 50, swarm.Search{Tracked: 3, Refused: 3}, false, "3 addresses of peers are known, but none can be connected to: 3 refused", "ended their programs"},
		{"all silent", []trackerResult{up}, 50, swarm.Search{Discovered: 40, Dialling: 20, Silent: 20}, false, "40 do not answer", "firewall"},
		{"all hang up", []trackerResult{up}, 50, swarm.Search{Tracked: 1, HungUp: 1}, false, "1 hung up", "--encryption"},
	} {
		v := &visit{}
		v.found.trackers, v.found.nodes = test.trackers, test.nodes
		why, advice := v.whyNoPeers(&torrentResult{search: test.search, private: test.private})
		if !strings.Contains(why, test.why) || !strings.Contains(advice, test.advice) {
			t.Errorf("%s: %q -> %q, want %q -> %q", test.name, why, advice, test.why, test.advice)
		}
	}
}

// Nobody is asked whom a download with the same configuration would leave alone.
func TestWhomADownloadAsks(t *testing.T) {
	ours, turn := []string{"stun:stun.example:3478"}, []string{"turn:us:secret@turn.example:3478"}
	classic, web := "udp://tracker.example:6969", "wss://tracker.example"
	for _, test := range []struct {
		name     string
		cfg      client.Config
		stun     []string
		trackers []string
	}{
		{"no WebRTC", client.Config{DisableWebRTC: true}, nil, []string{classic}},
		{"no WebRTC, servers named", client.Config{DisableWebRTC: true, STUN: ours}, []string{"stun.example:3478"}, []string{classic}},
		{"servers named", client.Config{STUN: ours}, []string{"stun.example:3478"}, []string{classic, web}},
		{"none named", client.Config{STUN: []string{}}, nil, []string{classic, web}},
		{"relay only", client.Config{STUN: ours, TURN: turn, RelayOnly: true}, nil, []string{classic, web}},
		{"no trackers", client.Config{STUN: ours, DisableTrackers: true}, []string{"stun.example:3478"}, nil},
	} {
		v := &visit{cfg: Config{Client: test.cfg, Trackers: []string{classic, web}}}
		if got := v.stunServers(); !slices.Equal(got, test.stun) {
			t.Errorf("%s: STUN servers %v, want %v", test.name, got, test.stun)
		}
		if got := v.trackers(); !slices.Equal(got, test.trackers) {
			t.Errorf("%s: trackers %v, want %v", test.name, got, test.trackers)
		}
	}
	if v := (&visit{}); len(v.stunServers()) == 0 {
		t.Error("by default no STUN server is asked")
	}
}

// What a NAT does is told in words, and to programs.
func TestNATInWords(t *testing.T) {
	seen := netip.MustParseAddrPort("203.0.113.1:5000")
	for _, test := range []struct {
		found   reach.NAT
		state   State
		text    string
		details string
	}{
		{reach.NAT{}, None, "no STUN server answers", `null`},
		{reach.NAT{Mapped: seen, Answers: 1}, None, "takes a second STUN server", `{"mapping":"unknown","filtering":"unknown","mapped":"203.0.113.1:5000"}`},
		{
			reach.NAT{Mapped: seen, Answers: 1, Mapping: reach.EndpointIndependent, Filtering: reach.AddressDependent}, OK, "lets in addresses that we have sent to",
			`{"mapping":"endpoint-independent","filtering":"address-dependent","mapped":"203.0.113.1:5000"}`,
		},
		{
			reach.NAT{Mapped: seen, Answers: 2, Mapping: reach.Dependent}, Warn, "symmetric",
			`{"mapping":"dependent","filtering":"unknown","mapped":"203.0.113.1:5000"}`,
		},
		{
			reach.NAT{Mapped: seen, Answers: 1, Mapping: reach.AddressDependent, Filtering: reach.EndpointIndependent}, Warn, "symmetric",
			`{"mapping":"address-dependent","filtering":"endpoint-independent","mapped":"203.0.113.1:5000"}`,
		},
		{
			reach.NAT{Mapped: seen, Answers: 1, Mapping: reach.AddressAndPortDependent, Filtering: reach.AddressAndPortDependent}, Warn, "lets in address and port that we have sent to",
			`{"mapping":"address-and-port-dependent","filtering":"address-and-port-dependent","mapped":"203.0.113.1:5000"}`,
		},
		{
			reach.NAT{Mapped: seen, Answers: 1, None: true, Mapping: reach.EndpointIndependent, Filtering: reach.EndpointIndependent}, OK, "There is no NAT",
			`{"mapping":"none","filtering":"endpoint-independent","mapped":"203.0.113.1:5000"}`,
		},
	} {
		v := &visit{client: &client.Client{}}
		v.found.nat, v.found.stunAsked, v.found.stunAnswers = test.found, 2, test.found.Answers
		v.concludeNAT()
		c := v.checks[0]
		details, err := json.Marshal(c.Details)
		if c.State != test.state || !strings.Contains(c.Text, test.text) || string(details) != test.details || err != nil {
			t.Errorf("%+v: %s, %q, %s, %v; want %s, %q, %s", test.found, c.State, c.Text, details, err, test.state, test.text, test.details)
		}
	}
}
