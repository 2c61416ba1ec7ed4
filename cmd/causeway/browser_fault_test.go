package main_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/bench/webpeer"
	"github.com/causeway-bt/causeway/webrtcwire"
)

// webTracker introduces peers of the test's own to causeway.
func webTracker(t *testing.T) *webpeer.Tracker {
	t.Helper()
	tracker := webpeer.Listen()
	t.Cleanup(tracker.Close)
	return tracker
}

// ownTransport is a WebRTC socket on loopback.
func ownTransport(t *testing.T) *webrtcwire.Transport {
	t.Helper()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport, err := webpeer.Transport(udp)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	return transport
}

// stall connects a peer that asks for the first n blocks and reads none of them.
func stall(t *testing.T, tracker *webpeer.Tracker, tor *fixture.Torrent, number, n int) {
	t.Helper()
	conn, err := tracker.Connect(within(t, patience), ownTransport(t), tor.InfoHash, number)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	leech, err := webpeer.NewLeech(conn, tor.Size, tor.PieceLength)
	if err != nil {
		t.Fatal(err)
	}
	if err := leech.Ask(n); err != nil {
		t.Fatal(err)
	}
}

// A page that asks for much and reads none of it costs little memory, and takes
// nothing from the others.
func TestPagesThatStopReading(t *testing.T) {
	realpeer.Need(t, realpeer.WebTorrent)
	const (
		stalled = 10
		asked   = 1024    // blocks of each: 16 MiB
		each    = 2 << 20 // bytes of memory for one
	)
	tor, faults, tracker := single(t, 32<<20), webTracker(t), realpeer.StartWebTracker(t, 0)
	t.Setenv("GOGC", "10") // so that the memory is what is in use, with little garbage
	run := webSeed(t, tor, tracker, "--tracker", faults.URL, "--slots", "16", "--web-slots", "16")
	download := func() {
		dir := t.TempDir()
		finish(t, start(t, args([]string{"download", tor.Path, "-o", dir, "--no-tcp", "--no-utp"}, toWeb(tracker))...), tor, dir)
	}
	download() // so that the heap and its pools have their size
	idle, err := proc.RssAnon(run.PID())
	if err != nil {
		t.Skipf("memory cannot be measured here: %v", err)
	}
	began := time.Now()
	sent := lastProgress(run).Uploaded
	for i := range stalled {
		stall(t, faults, tor, i, asked)
	}
	eventually(t, patience, "all to be counted", func() bool { return lastProgress(run).Peers.WebRTC == stalled })
	eventually(t, patience, "nothing to be sent any more", func() bool {
		before := sent
		sent = lastProgress(run).Uploaded
		return sent == before && time.Since(began) > 3*time.Second
	})
	full, err := proc.RssAnon(run.PID())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("RssAnon %.1f MiB before, %.1f MiB with %d stalled peers", float64(idle)/(1<<20), float64(full)/(1<<20), stalled)
	if cost := (full - idle) / stalled; cost > each {
		t.Errorf("a stalled peer costs %d KiB, want at most %d", cost>>10, each>>10)
	}
	download()
}

// A tracker that sends a thousand offers a second, none of which leads anywhere, costs
// a bounded part of a core and bounded memory, and when it stops everything is given
// back.
func TestFloodOfOffers(t *testing.T) {
	const (
		perSecond  = 1000
		flood      = 10 * time.Second
		maxCPU     = 0.5      // of a core
		maxMemory  = 48 << 20 // bytes above what it was
		keptMemory = 16 << 20
	)
	if testing.Short() {
		t.Skip("floods for most of a minute: not with -short")
	}
	tor, faults := single(t, 1<<20), webTracker(t)
	run := start(t, args([]string{
		"seed", tor.Path, "--data", tor.Dir, "--no-webrtc=false", "--stun", silentSTUN, "--no-dht", "--tracker", faults.URL,
	}, base)...)
	dead := ownTransport(t)
	offer, err := dead.Offer(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	ctx := within(t, patience)
	if _, err := faults.Offer(ctx, tor.InfoHash, -1, "no description"); err != nil { // waits for the announce
		t.Fatal(err)
	}
	before, files := memory(t, run), openFiles(t, run)
	cpu, err := run.CPU()
	if err != nil {
		t.Skipf("processor time cannot be measured here: %v", err)
	}
	peak := before
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	began, sent := time.Now(), 0
	for time.Since(began) < flood {
		<-tick.C
		for due := int(time.Since(began).Seconds() * perSecond); sent < due; sent++ {
			if _, err := faults.Offer(ctx, tor.InfoHash, sent, offer.SDP); err != nil {
				t.Fatalf("after %d offers: %v", sent, err)
			}
		}
		peak = max(peak, memory(t, run))
	}
	took := time.Since(began)
	used, err := run.CPU()
	if err != nil {
		t.Fatal(err)
	}
	share := (used - cpu).Seconds() / took.Seconds()
	t.Logf("%d offers in %v: %.2f of a core, RssAnon %.1f MiB before, %.1f MiB at most", sent, took, share, float64(before)/(1<<20), float64(peak)/(1<<20))
	if share > maxCPU {
		t.Errorf("%d offers a second used %.2f of a core, want at most %.2f", perSecond, share, maxCPU)
	}
	if peak > before+maxMemory {
		t.Errorf("RssAnon grew from %d to %d MiB", before>>20, peak>>20)
	}
	eventually(t, patience, "negotiations to end and their memory to be given back", func() bool {
		return openFiles(t, run) <= files && memory(t, run) <= before+keptMemory
	})
}

// Offers that lead nowhere take the places of a torrent's negotiations for seconds, not
// until they have failed.
func TestDeadOffersMakeRoom(t *testing.T) {
	const (
		dead = 21               // one more than a torrent has places
		soon = 15 * time.Second // five until they give way, and some for a slow machine
	)
	tor, tracker := single(t, 1<<20), webTracker(t)
	start(t, args([]string{
		"seed", tor.Path, "--data", tor.Dir, "--no-webrtc=false", "--stun", silentSTUN, "--no-dht", "--tracker", tracker.URL,
	}, base)...)
	ctx := within(t, patience)
	gone := ownTransport(t)
	offer, err := gone.Offer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for i := range dead {
		if _, err := tracker.Offer(ctx, tor.InfoHash, i, offer.SDP); err != nil {
			t.Fatal(err)
		}
	}
	began, alive := time.Now(), ownTransport(t)
	for number := dead; time.Since(began) < soon; number++ { // as pages that come one after the other
		short, cancel := context.WithTimeout(ctx, time.Second)
		_, err = tracker.Connect(short, alive, tor.InfoHash, number)
		cancel()
		if err == nil {
			return
		}
	}
	t.Errorf("no connection for %v: %v", soon, err)
}

func memory(t *testing.T, run *cli.Run) int64 {
	t.Helper()
	n, err := proc.RssAnon(run.PID())
	if err != nil {
		t.Skipf("memory cannot be measured here: %v", err)
	}
	return n
}

func openFiles(t *testing.T, run *cli.Run) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", run.PID()))
	if err != nil {
		t.Skipf("open files cannot be counted here: %v", err)
	}
	return len(entries)
}
