package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// Eight pages of one browser have one IP address, and are all served alike.
func TestEightPagesAtOnce(t *testing.T) {
	realpeer.Need(t, realpeer.Chromium, realpeer.WebTorrent)
	const pages = 8
	tor, tracker := single(t, 8<<20), realpeer.StartWebTracker(t, 0)
	run := webSeed(t, tor, tracker)
	browser := realpeer.StartBrowser(t, realpeer.BrowserOptions{
		Browser: realpeer.Chromium, Pages: pages, Torrent: tor.Path, Trackers: []string{tracker.URL},
	})
	var rates [pages]float64 // MB/s, waiting for the first peer included
	var mean float64
	for i := range pages {
		rates[i] = float64(tor.Size) / 1e3 / pageHas(t, browser, i, tor).MS
		mean += rates[i] / pages
	}
	for i, rate := range rates {
		if rate < mean/2 {
			t.Errorf("page %d got %.2f MB/s, less than half of the mean, %.2f", i, rate, mean)
		}
	}
	t.Logf("rates %.2f, mean %.2f MB/s; causeway sent %.1f copies", rates, mean, float64(lastProgress(run).Uploaded)/float64(tor.Size))
}

// Eight peers of one IP address are connected at once. Pages do not show it for certain:
// the tracker hands the five offers of each to others at random.
func TestEightOfOneAddressAtOnce(t *testing.T) {
	const peers = 8
	tor, tracker := single(t, 1<<20), webTracker(t)
	run := start(t, args([]string{
		"seed", tor.Path, "--data", tor.Dir, "--no-webrtc=false", "--stun", silentSTUN, "--no-dht", "--tracker", tracker.URL,
	}, base)...)
	for i := range peers {
		stall(t, tracker, tor, i, 1)
	}
	if _, err := run.WaitFor(within(t, patience), "all to be connected at once", func(e cli.Event) bool {
		return e.Event == "progress" && e.Peers.WebRTC == peers
	}); err != nil {
		t.Error(err)
	}
}

// Through a relay alone, on the page's side and on ours.
func TestBrowserThroughRelayOnly(t *testing.T) {
	for _, test := range []struct {
		name           string
		browser        realpeer.Program
		page, causeway bool
	}{
		{"the page", realpeer.Chromium, true, false},
		// Chromium would send from a loopback address that is none of its candidates,
		// and for which therefore the relay has no permission.
		{"causeway", realpeer.Firefox, false, true},
		{"the page, Firefox", realpeer.Firefox, true, false},
		{"both", realpeer.Chromium, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			realpeer.Need(t, test.browser, realpeer.WebTorrent, realpeer.Coturn)
			tor, tracker, turn := single(t, 2<<20), realpeer.StartWebTracker(t, 0), realpeer.StartTURN(t)
			var flags []string
			if test.causeway {
				flags = []string{"--turn", turn.URL(), "--relay-only"}
			}
			webSeed(t, tor, tracker, flags...)
			o := realpeer.BrowserOptions{
				Browser: test.browser, Torrent: tor.Path, Trackers: []string{tracker.URL}, ShowAddresses: true,
			}
			if test.page {
				o.Relay = turn
			}
			pageHas(t, realpeer.StartBrowser(t, o), 0, tor)
		})
	}
}

// A WebSocket tracker that comes back hears of every torrent within seconds, and its
// absence harms nobody who is connected.
func TestWebTrackerComesBack(t *testing.T) {
	realpeer.Need(t, realpeer.Chromium, realpeer.WebTorrent)
	const (
		torrents = 5
		away     = 6 * time.Second // long enough for the time between attempts to have grown
		soon     = 5 * time.Second
	)
	tracker := realpeer.StartWebTracker(t, 0)
	var tors []*fixture.Torrent
	command := []string{"seed"}
	for i := range torrents {
		tor, err := fixture.Make(t.TempDir(), fmt.Sprintf("content %d", i), []fixture.File{{Size: 6 << 20}}, fixture.Options{Seed: uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
		tors, command = append(tors, tor), append(command, tor.FilePath(tor.Dir, 0))
	}
	run := start(t, args(command, []string{"--no-tcp", "--no-utp", "--up-limit", "500K"}, toWeb(tracker))...)
	magnets := seedingMagnets(t, run, torrents)
	page := realpeer.StartBrowser(t, realpeer.BrowserOptions{
		Browser: realpeer.Chromium, Magnet: magnets[tors[0].Name], Trackers: []string{tracker.URL},
	})
	if _, err := page.WaitPage(within(t, patience), 0, "first piece"); err != nil {
		t.Fatal(err)
	}

	tracker.Kill()
	if _, err := run.WaitFor(within(t, patience), "the tracker to be missed", func(e cli.Event) bool {
		return e.Event == "tracker" && e.State == "error"
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-time.After(away):
	case <-run.Done():
		t.Fatal("causeway ended without its tracker")
	}
	tracker = realpeer.StartWebTracker(t, tracker.Port)
	up := time.Now()
	announced := map[string]bool{}
	if _, err := tracker.Announces.Wait(within(t, patience), "all torrents to be announced again", func(a realpeer.Announce) bool {
		if a.Event == "start" && strings.HasPrefix(a.PeerID, "-CW") { // each torrent has a peer id of its own
			announced[a.InfoHash] = true
		}
		return len(announced) == torrents
	}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(up); took > soon {
		t.Errorf("the last torrent was announced %v after the tracker was back, want at most %v", took, soon)
	}

	pageHas(t, page, 0, tors[0])
	wires := 0
	for _, e := range page.Events.All() {
		if e.Event == "wire" {
			wires++
		}
	}
	if wires != 1 {
		t.Errorf("the page made %d connections, want the first to last", wires)
	}
}

// seedingMagnets returns the magnet links of n torrents by name, once they seed.
func seedingMagnets(t *testing.T, run *cli.Run, n int) map[string]string {
	t.Helper()
	names, magnets := map[string]string{}, map[string]string{}
	if _, err := run.WaitFor(within(t, patience), "all torrents to be seeded", func(e cli.Event) bool {
		switch e.Event {
		case "torrent":
			names[e.InfoHash] = e.Name
		case "seeding":
			magnets[names[e.InfoHash]] = e.Magnet
		}
		return len(magnets) == n
	}); err != nil {
		t.Fatal(err)
	}
	return magnets
}

// Whoever sees no browser is told why.
func TestWhyNoBrowser(t *testing.T) {
	for _, test := range []struct {
		name, want string
		flags      func(t *testing.T) []string
	}{
		{"no tracker", "no WebSocket tracker", func(*testing.T) []string {
			return []string{"--no-web-trackers"}
		}},
		{"tracker down", "no WebSocket tracker can be reached", func(t *testing.T) []string {
			port, err := realpeer.FreePort()
			if err != nil {
				t.Fatal(err)
			}
			return []string{"--tracker", fmt.Sprintf("ws://127.0.0.1:%d", port)}
		}},
		{"nobody there", "know of no other peer", func(t *testing.T) []string {
			realpeer.Need(t, realpeer.WebTorrent)
			return []string{"--tracker", realpeer.StartWebTracker(t, 0).URL}
		}},
		{"offers unanswered", "nobody has answered our offers", func(t *testing.T) []string {
			tracker := webTracker(t)
			tracker.TellOf(2)
			return []string{"--tracker", tracker.URL}
		}},
		{"relay down", "no offer could be made: webrtcwire: no local candidates", func(t *testing.T) []string {
			port, err := realpeer.FreePort()
			if err != nil {
				t.Fatal(err)
			}
			return []string{"--tracker", webTracker(t).URL, "--relay-only", "--turn", fmt.Sprintf("turn:user:password@127.0.0.1:%d", port)}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			tor := single(t, 1<<20)
			run, _ := seed(t, tor, args([]string{"--no-webrtc=false", "--stun", silentSTUN, "--no-dht"}, base, test.flags(t))...)
			if _, err := run.WaitFor(within(t, patience), "a warning with a reason", func(e cli.Event) bool {
				return e.Event == "warning" && strings.Contains(e.Message, test.want)
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// Whose connections fail is told what kinds of candidates there were.
func TestWhyNoConnection(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute: not with -short")
	}
	t.Parallel()
	tor, tracker := single(t, 1<<20), webTracker(t)
	run := start(t, args([]string{
		"seed", tor.Path, "--data", tor.Dir, "--no-webrtc=false", "--stun", silentSTUN, "--no-dht", "--tracker", tracker.URL,
	}, base)...)
	gone := ownTransport(t)
	offer, err := gone.Offer(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	if _, err := tracker.Offer(within(t, patience), tor.InfoHash, 1, offer.SDP); err != nil {
		t.Fatal(err)
	}
	const want = "our candidates: host; theirs: host"
	if _, err := run.WaitFor(within(t, patience), "a warning with the candidates", func(e cli.Event) bool {
		return e.Event == "warning" && strings.Contains(e.Message, "could not be made") && strings.Contains(e.Message, want)
	}); err != nil {
		t.Error(err)
	}
}
