package main_test

import (
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/tracker"
)

// These tests have programs that we did not write meet by `causeway tracker`, with no
// other way to find each other.

// meetingPoint is a running `causeway tracker`.
type meetingPoint struct {
	*cli.Run
	http, udp, ws string // announce URLs
	port          int    // TCP and UDP
}

// openMeetingPoint runs the tracker at an address of this machine, on any port unless a
// flag says otherwise.
func openMeetingPoint(t *testing.T, host string, flags ...string) *meetingPoint {
	t.Helper()
	m := &meetingPoint{Run: start(t, args([]string{"tracker", "--listen", host, "--port", "0"}, flags)...)}
	listening, err := m.WaitEvent(within(t, patience), "listening")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listening.TCP)
	if err == nil {
		m.port, err = strconv.Atoi(port)
	}
	if err != nil {
		t.Fatalf("the address that the tracker reports: %v", err)
	}
	at := net.JoinHostPort(host, port)
	m.http, m.udp, m.ws = "http://"+at+"/announce", "udp://"+at+"/announce", "ws://"+at+"/announce"
	return m
}

// counts is what the tracker counts of a torrent, by HTTP.
func (m *meetingPoint) counts(t *testing.T, tor *fixture.Torrent) tracker.Swarm {
	t.Helper()
	swarms, err := tracker.Scraper{}.Scrape(within(t, patience), m.http, tor.InfoHash)
	if err != nil {
		t.Fatal(err)
	}
	return swarms[tor.InfoHash]
}

// waitSwarm waits until the tracker counts so many.
func (m *meetingPoint) waitSwarm(t *testing.T, tor *fixture.Torrent, seeds, leeches int) {
	t.Helper()
	var got tracker.Swarm
	const every = 200 * time.Millisecond // to ask costs both a connection
	for ctx := within(t, patience); ; {
		got = m.counts(t, tor)
		if got.Seeds == seeds && got.Leeches == leeches {
			return
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			t.Fatalf("no %d seeds and %d leeches at the tracker within %v, but %+v", seeds, leeches, patience, got)
		}
	}
}

// byWeb are the flags of our own program to meet browsers by a tracker, on loopback.
func byWeb(urls ...string) []string {
	flags := args([]string{"--no-webrtc=false", "--stun", silentSTUN, "--no-dht", "--no-pex"}, base)
	for _, url := range urls {
		flags = append(flags, "--tracker", url)
	}
	return flags
}

// Classic programs find each other by our tracker, over HTTP and UDP, IPv4 and IPv6.
func TestTrackerIntroduces(t *testing.T) {
	const v6 = "::1"
	for _, test := range []struct {
		seed, leech   realpeer.Program
		seedBy, getBy string
		v6            bool
	}{
		{realpeer.Libtorrent, realpeer.Aria2, "http", "udp", false},
		{realpeer.Aria2, realpeer.Libtorrent, "http", "udp", false},
		{realpeer.Libtorrent, realpeer.Libtorrent, "udp", "http", false},
		{realpeer.Libtorrent, realpeer.Libtorrent, "udp", "http", true},
		{realpeer.Libtorrent, realpeer.Aria2, "udp", "http", true},
		{realpeer.Aria2, realpeer.Libtorrent, "http", "udp", true},
	} {
		name := fmt.Sprintf("%s by %s to %s by %s", test.seed, test.seedBy, test.leech, test.getBy)
		if test.v6 {
			name += ", IPv6"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			realpeer.Need(t, test.seed, test.leech)
			at, seedHost, leechHost := realpeer.Host, host(2), host(3)
			if test.v6 {
				at, seedHost, leechHost = v6, v6, v6
			}
			tor, m := mixed(t), openMeetingPoint(t, at)
			url := map[string]string{"http": m.http, "udp": m.udp}
			realpeer.Start(t, realpeer.Options{
				Program: test.seed, Torrent: tor.Path, Dir: tor.Dir, Seed: true, Encryption: realpeer.Prefer,
				Host: seedHost, Trackers: []string{url[test.seedBy]}, DHT: udpNeedsDHT(test.seed, test.seedBy),
			})
			m.waitSwarm(t, tor, 1, 0)
			dir := t.TempDir()
			received(t, realpeer.Start(t, realpeer.Options{
				Program: test.leech, Torrent: tor.Path, Dir: dir, Encryption: realpeer.Prefer,
				Host: leechHost, Trackers: []string{url[test.getBy]}, DHT: udpNeedsDHT(test.leech, test.getBy),
			}), tor, dir)
		})
	}
}

// udpNeedsDHT says that a program has no UDP trackers without the DHT. It knows no other
// node of that, so that it is not how it finds anybody.
func udpNeedsDHT(p realpeer.Program, by string) bool { return p == realpeer.Aria2 && by == "udp" }

// Our own program meets them, too, and takes metadata from whom the tracker names.
func TestTrackerIntroducesUs(t *testing.T) {
	t.Run("seed to libtorrent", func(t *testing.T) {
		t.Parallel()
		realpeer.Need(t, realpeer.Libtorrent)
		tor, m := mixed(t), openMeetingPoint(t, realpeer.Host)
		seed(t, tor, args([]string{"--tracker", m.udp, "--no-dht", "--no-pex"}, base)...)
		m.waitSwarm(t, tor, 1, 0)
		dir := t.TempDir()
		received(t, realpeer.Start(t, realpeer.Options{
			Program: realpeer.Libtorrent, Magnet: tor.Magnet(), Dir: dir, Host: host(2), Trackers: []string{m.http},
		}), tor, dir)
	})
	t.Run("download from aria2", func(t *testing.T) {
		t.Parallel()
		realpeer.Need(t, realpeer.Aria2)
		tor, m := mixed(t), openMeetingPoint(t, realpeer.Host)
		realpeer.Start(t, realpeer.Options{
			Program: realpeer.Aria2, Torrent: tor.Path, Dir: tor.Dir, Seed: true, Host: host(2), Trackers: []string{m.http},
		})
		m.waitSwarm(t, tor, 1, 0)
		dir := t.TempDir()
		finish(t, start(t, args([]string{"download", tor.Magnet() + "&tr=" + m.udp, "-o", dir, "--no-dht", "--no-pex"}, base)...), tor, dir)
	})
}

// Transmission takes no loopback address from a tracker.
func TestTrackerIntroducesTransmission(t *testing.T) {
	t.Parallel()
	realpeer.Need(t, realpeer.Transmission, realpeer.Libtorrent)
	if !offLoopback(t) {
		return
	}
	for _, seeds := range []bool{true, false} {
		for _, kind := range []string{"http", "udp"} {
			t.Run(fmt.Sprintf("seeds %v by %s", seeds, kind), func(t *testing.T) {
				t.Parallel()
				tor, m := wanted(t, realpeer.Transmission), openMeetingPoint(t, realpeer.Host)
				url := map[string]string{"http": m.http, "udp": m.udp}[kind]
				programs := []realpeer.Program{realpeer.Libtorrent, realpeer.Transmission}
				if seeds {
					slices.Reverse(programs)
				}
				realpeer.Start(t, realpeer.Options{
					Program: programs[0], Torrent: tor.Path, Dir: tor.Dir, Seed: true, Encryption: realpeer.Prefer,
					Host: host(2), Trackers: []string{url},
				})
				m.waitSwarm(t, tor, 1, 0)
				dir := t.TempDir()
				received(t, realpeer.Start(t, realpeer.Options{
					Program: programs[1], Torrent: tor.Path, Dir: dir, Encryption: realpeer.Prefer, Host: host(3), Trackers: []string{url},
				}), tor, dir)
			})
		}
	}
}

// One swarm with peers over HTTP, UDP and WebSocket: each front end counts all of them,
// while they wait for a seed and once one has come that bridges both kinds.
func TestTrackerCountsAllKinds(t *testing.T) {
	t.Parallel()
	realpeer.Need(t, realpeer.Libtorrent, realpeer.WebTorrent, realpeer.Chromium)
	tor, m := single(t, 1<<20), openMeetingPoint(t, realpeer.Host)
	var dirs []string
	var peers []*realpeer.Peer
	for i, o := range []realpeer.Options{
		{Program: realpeer.Libtorrent, Trackers: []string{m.http}, Host: host(2)},
		{Program: realpeer.Libtorrent, Trackers: []string{m.udp}, Host: host(3)},
		{Program: realpeer.WebTorrent, Trackers: []string{m.ws}},
	} {
		o.Torrent, o.Dir = tor.Path, t.TempDir()
		peers, dirs = append(peers, realpeer.Start(t, o)), append(dirs, o.Dir)
		m.waitSwarm(t, tor, 0, i+1)
	}
	page := realpeer.StartBrowser(t, realpeer.BrowserOptions{Browser: realpeer.Chromium, Torrent: tor.Path, Trackers: []string{m.ws}})
	m.waitSwarm(t, tor, 0, 4)
	m.scrapedByAll(t, tor, cli.Event{Leeches: 4})

	seed(t, tor, byWeb(m.http, m.ws)...)
	pageHas(t, page, 0, tor)
	for i, p := range peers {
		if err := p.WaitComplete(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		defer func() {
			p.Stop() // so that everything is on disk
			if err := tor.Compare(dirs[i]); err != nil {
				t.Error(err)
			}
		}()
	}
	m.waitSwarm(t, tor, 5, 0)
	m.scrapedByAll(t, tor, cli.Event{Seeds: 5, Completed: 4})
}

// scrapedByAll compares what `causeway info` learns over HTTP, UDP and WebSocket.
func (m *meetingPoint) scrapedByAll(t *testing.T, tor *fixture.Torrent, want cli.Event) {
	t.Helper()
	urls := []string{m.http, m.udp, m.ws}
	command := []string{"info", tor.Path}
	for _, url := range urls {
		command = append(command, "--tracker", url)
	}
	run := start(t, command...)
	waitExit(t, run, 0)
	got := map[string]cli.Event{}
	for _, e := range run.Events() {
		if e.Event == "tracker" {
			got[e.URL] = e
		}
	}
	for _, url := range urls {
		if e := got[url]; e.State != "ok" || e.Seeds != want.Seeds || e.Leeches != want.Leeches || e.Completed != want.Completed {
			t.Errorf("%s says %q %s: %d seeds, %d leeches, %d completed; want %d, %d and %d",
				url, e.State, e.Message, e.Seeds, e.Leeches, e.Completed, want.Seeds, want.Leeches, want.Completed)
		}
	}
}

// Web peers find each other: pages of both browsers, Node, and ours.
func TestTrackerIntroducesWebPeers(t *testing.T) {
	// Node and Chromium often fail to connect on one host, by the reference tracker as well.
	t.Run("Firefox to Chromium", func(t *testing.T) {
		t.Parallel()
		realpeer.Need(t, realpeer.Firefox, realpeer.Chromium)
		content, m := single(t, 1<<20), openMeetingPoint(t, realpeer.Host)
		page := realpeer.StartBrowser(t, realpeer.BrowserOptions{
			Browser: realpeer.Firefox, Seed: content.FilePath(content.Dir, 0), Trackers: []string{m.ws}, ShowAddresses: true,
		})
		seeding, err := page.WaitPage(within(t, patience), 0, "seeding")
		if err != nil {
			t.Fatal(err)
		}
		pageHas(t, realpeer.StartBrowser(t, realpeer.BrowserOptions{
			Browser: realpeer.Chromium, Magnet: seeding.Magnet, Trackers: []string{m.ws}, ShowAddresses: true,
		}), 0, content)
	})
	t.Run("ours to Firefox and Node", func(t *testing.T) {
		t.Parallel()
		realpeer.Need(t, realpeer.WebTorrent, realpeer.Firefox)
		tor, m := single(t, 1<<20), openMeetingPoint(t, realpeer.Host)
		seed(t, tor, byWeb(m.ws)...)
		m.waitSwarm(t, tor, 1, 0)
		page := realpeer.StartBrowser(t, realpeer.BrowserOptions{Browser: realpeer.Firefox, Torrent: tor.Path, Trackers: []string{m.ws}})
		dir := t.TempDir()
		received(t, realpeer.Start(t, realpeer.Options{Program: realpeer.WebTorrent, Torrent: tor.Path, Dir: dir, Trackers: []string{m.ws}}), tor, dir)
		pageHas(t, page, 0, tor)
	})
}

// The client that most WebTorrent programs use does all that it can.
func TestTrackerServesReferenceClient(t *testing.T) {
	realpeer.Need(t, realpeer.WebTorrent)
	m := openMeetingPoint(t, realpeer.Host)
	for i, test := range []struct{ url, met string }{
		{m.http, "127.0.0.1:6001"}, {m.udp, "127.0.0.1:6001"}, {m.ws, hex.EncodeToString([]byte("-CL0001-first0000000"))},
	} {
		t.Run(test.url[:4], func(t *testing.T) {
			t.Parallel()
			got, err := realpeer.RunTrackerClients(within(t, patience), test.url, fmt.Sprintf("%040x", i+1))
			if err != nil {
				t.Error(err)
			}
			for i, want := range []realpeer.ClientStep{
				{Step: "first starts", Incomplete: 1},
				{Step: "second starts", Incomplete: 2},
				{Step: "second meets", Peer: test.met},
				{Step: "second updates", Incomplete: 2},
				{Step: "second completes", Complete: 1, Incomplete: 1},
				{Step: "scrape", Complete: 1, Incomplete: 1, Downloaded: 1},
				{Step: "second stops", Incomplete: 1},
				{Step: "scrape after the stop", Incomplete: 1, Downloaded: 1},
			} {
				if i >= len(got) {
					t.Fatalf("no step %q", want.Step)
				}
				if got[i] != want {
					t.Errorf("got %+v, want %+v", got[i], want)
				}
			}
		})
	}
}
