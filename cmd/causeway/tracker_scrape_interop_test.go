package main_test

import (
	"os/exec"
	"testing"

	"github.com/causeway-bt/causeway/bench/realpeer"
)

// Libtorrent scrapes the tracker over HTTP and UDP. (bittorrent-tracker's client does in
// TestTrackerServesReferenceClient, our own in TestTrackerCountsAllKinds; aria2 never
// scrapes.)
func TestTrackerIsScraped(t *testing.T) {
	t.Parallel()
	realpeer.Need(t, realpeer.Libtorrent)
	tor, m := single(t, 1<<20), openMeetingPoint(t, realpeer.Host)
	seed(t, tor, args([]string{"--tracker", m.http, "--no-dht", "--no-pex"}, base)...)
	m.waitSwarm(t, tor, 1, 0)
	for _, url := range []string{m.http, m.udp} {
		out, err := exec.CommandContext(within(t, patience), "/usr/bin/python3", "testdata/libtorrent_scrape.py", tor.Path, url).CombinedOutput()
		if err != nil || string(out) != "1 0\n" {
			t.Errorf("%s: %q, %v; want 1 seed and 0 leeches", url, out, err)
		}
	}
}
