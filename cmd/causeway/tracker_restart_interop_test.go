package main_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/realpeer"
)

// A tracker that was killed has forgotten everybody. Within one interval of its new start
// all are back, over each protocol, and its swarms are whole.
func TestTrackerKilledAndRestarted(t *testing.T) {
	t.Parallel()
	realpeer.Need(t, realpeer.Libtorrent, realpeer.Aria2)
	// UDP clients keep a connection id for a minute (BEP 15), which the new tracker does not
	// know: a shorter interval, that no tracker has, would show how they retry.
	const interval = 65 * time.Second
	flags := []string{"--interval", interval.String()}
	m := openMeetingPoint(t, realpeer.Host, flags...)
	tor := single(t, 1<<20)
	seed(t, tor, byWeb(m.http)...)
	seed(t, tor, byWeb(m.ws)...)
	for i, o := range []realpeer.Options{
		{Program: realpeer.Libtorrent, Trackers: []string{m.http}},
		{Program: realpeer.Libtorrent, Trackers: []string{m.udp}},
		{Program: realpeer.Aria2, Trackers: []string{m.udp}, DHT: udpNeedsDHT(realpeer.Aria2, "udp")},
	} {
		o.Torrent, o.Dir, o.Seed, o.Host = tor.Path, tor.Dir, true, host(2+i)
		realpeer.Start(t, o)
	}
	const all = 5
	m.waitSwarm(t, tor, all, 0)

	m.Kill()
	again := openMeetingPoint(t, realpeer.Host, append(flags, "--port", strconv.Itoa(m.port))...)
	started := time.Now()
	again.waitSwarm(t, tor, all, 0)
	// The tracker adds up to a tenth, so that not all come at once; the rest is for a
	// machine that is busy.
	if took, most := time.Since(started), interval*5/4; took > most {
		t.Errorf("whole again after %v, want at most %v", took, most)
	}
}
