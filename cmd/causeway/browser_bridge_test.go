package main_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// inBrowsers runs a test with each of the browsers.
func inBrowsers(t *testing.T, test func(*testing.T, realpeer.Program)) {
	t.Helper()
	for _, browser := range []realpeer.Program{realpeer.Chromium, realpeer.Firefox} {
		t.Run(string(browser), func(t *testing.T) {
			realpeer.Need(t, browser, realpeer.WebTorrent)
			test(t, browser)
		})
	}
}

// aria2 seeds over TCP, and knows no WebRTC: what the page gets came through causeway,
// and while causeway was still downloading it.
func TestBrowserGetsWhatAria2Seeds(t *testing.T) { inBrowsers(t, getsWhatAria2Seeds) }

func getsWhatAria2Seeds(t *testing.T, browser realpeer.Program) {
	tor := single(t, 8<<20)
	tracker := realpeer.StartWebTracker(t, 0)
	peer := realpeer.Start(t, realpeer.Options{
		Program: realpeer.Aria2, Torrent: tor.Path, Dir: tor.Dir, Seed: true, UpLimit: 1 << 20,
	})
	// A browser may take longer to start than the download takes.
	page := realpeer.StartBrowser(t, realpeer.BrowserOptions{
		Browser: browser, Torrent: tor.Path, Trackers: []string{tracker.URL},
	})
	if _, err := page.WaitPage(within(t, patience), 0, "announced"); err != nil {
		t.Fatal(err)
	}
	run := start(t, args([]string{
		"download", tor.Path, "-o", t.TempDir(), "--seed", "--peer", peer.Addr,
	}, toWeb(tracker))...)
	first, err := page.WaitPage(within(t, patience), 0, "first piece")
	if err != nil {
		t.Fatal(err)
	}
	complete, err := run.WaitEvent(within(t, patience), "complete")
	if err != nil {
		t.Fatal(err)
	}
	if !first.Received.Before(complete.Received) {
		t.Errorf("the page had its first piece %v after causeway had them all", first.Received.Sub(complete.Received))
	}
	pageHas(t, page, 0, tor)
	eventually(t, patience, "all of it counted as bridged to browsers", func() bool {
		p := lastProgress(run)
		return p.Bridged.ToWeb >= tor.Size && p.Bridged.ToClassic == 0
	})
}

// A page seeds a file of its own; libtorrent, over TCP only, gets it through causeway.
func TestLibtorrentGetsWhatABrowserSeeds(t *testing.T) { inBrowsers(t, libtorrentGetsWhatItSeeds) }

func libtorrentGetsWhatItSeeds(t *testing.T, browser realpeer.Program) {
	realpeer.Need(t, realpeer.Libtorrent)
	content, tracker := single(t, 8<<20), realpeer.StartWebTracker(t, 0)
	_, magnet := seedingPage(t, browser, tracker, content)
	run := start(t, args([]string{"download", magnet, "-o", t.TempDir(), "--seed"}, toWeb(tracker))...)
	listening, err := run.WaitEvent(within(t, patience), "listening")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	peer := realpeer.Start(t, realpeer.Options{
		Program: realpeer.Libtorrent, Magnet: magnet, Dir: dir, Peers: []string{loopbackAddr(t, listening.TCP)},
	})
	received(t, peer, content, dir)
	eventually(t, patience, "all of it counted as bridged to the classic swarm", func() bool {
		p := lastProgress(run)
		return p.Bridged.ToClassic >= content.Size && p.Bridged.ToWeb == 0
	})
}

// seedingPage has a page make a torrent of the only file of another and seed it.
func seedingPage(t *testing.T, browser realpeer.Program, tracker *realpeer.WebTracker, content *fixture.Torrent) (page *realpeer.Browser, magnet string) {
	t.Helper()
	page = realpeer.StartBrowser(t, realpeer.BrowserOptions{
		Browser: browser, Seed: content.FilePath(content.Dir, 0), Trackers: []string{tracker.URL},
	})
	e, err := page.WaitPage(within(t, patience), 0, "seeding")
	if err != nil {
		t.Fatal(err)
	}
	return page, e.Magnet
}

// With nothing but a magnet link on the side that downloads, the metadata comes over
// WebRTC too.
func TestBrowserMagnet(t *testing.T) { inBrowsers(t, byMagnet) }

func byMagnet(t *testing.T, browser realpeer.Program) {
	t.Run("to a page", func(t *testing.T) {
		tor, tracker := single(t, 2<<20+1), realpeer.StartWebTracker(t, 0)
		run := webSeed(t, tor, tracker)
		seeding, err := run.WaitEvent(within(t, patience), "seeding")
		if err != nil {
			t.Fatal(err)
		}
		// The magnet link that causeway printed names the tracker.
		pageHas(t, realpeer.StartBrowser(t, realpeer.BrowserOptions{Browser: browser, Magnet: seeding.Magnet}), 0, tor)
	})
	t.Run("from a page", func(t *testing.T) {
		content, tracker := single(t, 2<<20+1), realpeer.StartWebTracker(t, 0)
		_, magnet := seedingPage(t, browser, tracker, content)
		dir := t.TempDir()
		run := start(t, args([]string{"download", magnet, "-o", dir, "--no-tcp", "--no-utp"}, toWeb(tracker))...)
		finish(t, run, content, dir)
	})
}

// webSeed runs `causeway seed` with WebRTC as its only transport.
func webSeed(t *testing.T, tor *fixture.Torrent, tracker *realpeer.WebTracker, flags ...string) *cli.Run {
	t.Helper()
	run := start(t, args([]string{"seed", tor.Path, "--data", tor.Dir, "--no-tcp", "--no-utp"}, flags, toWeb(tracker))...)
	if _, err := run.WaitEvent(within(t, patience), "seeding"); err != nil {
		t.Fatal(err)
	}
	return run
}

func TestTwoCausewaysOverWebRTC(t *testing.T) {
	realpeer.Need(t, realpeer.WebTorrent)
	tor, tracker := mixed(t), realpeer.StartWebTracker(t, 0)
	webSeed(t, tor, tracker)
	dir := t.TempDir()
	run := start(t, args([]string{"download", tor.Magnet(), "-o", dir, "--no-tcp", "--no-utp"}, toWeb(tracker))...)
	finish(t, run, tor, dir)
}

func TestWebTorrentInNode(t *testing.T) {
	t.Run("downloads", func(t *testing.T) {
		realpeer.Need(t, realpeer.WebTorrent)
		tor, tracker := mixed(t), realpeer.StartWebTracker(t, 0)
		webSeed(t, tor, tracker)
		dir := t.TempDir()
		peer := realpeer.Start(t, realpeer.Options{
			Program: realpeer.WebTorrent, Magnet: tor.Magnet(), Trackers: []string{tracker.URL}, Dir: dir,
		})
		if err := peer.WaitComplete(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		peer.Stop()
		// It makes no files for those without a byte.
		for i, f := range tor.Files {
			if f.Size == 0 {
				continue
			}
			if err := tor.CompareFile(dir, i); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("seeds", func(t *testing.T) {
		realpeer.Need(t, realpeer.WebTorrent)
		tor, tracker := single(t, 4<<20+77), realpeer.StartWebTracker(t, 0)
		realpeer.Start(t, realpeer.Options{
			Program: realpeer.WebTorrent, Torrent: tor.Path, Trackers: []string{tracker.URL}, Dir: tor.Dir, Seed: true,
		})
		dir := t.TempDir()
		run := start(t, args([]string{"download", tor.Magnet(), "-o", dir, "--no-tcp", "--no-utp"}, toWeb(tracker))...)
		finish(t, run, tor, dir)
		if _, err := os.Stat(filepath.Join(dir, tor.Name)); err != nil {
			t.Error(err)
		}
	})
}
