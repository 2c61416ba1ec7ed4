package main_test

import (
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/hostile"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// A peer that sends wrong data, among good ones, is banned, and costs little.
func TestWrongDataIsBanned(t *testing.T) {
	t.Parallel()
	tor := single(t, 8<<20)
	bad := scripted(t, tor, hostile.WrongData()) // as fast as it can
	good := realSeed(t, tor, realpeer.Options{UpLimit: 1 << 20})
	slow := scripted(t, tor, hostile.Slow(512<<10))
	dir := t.TempDir()
	run := start(t, args([]string{
		"download", tor.Path, "-o", dir, "--peer", bad.Addr(), "--peer", good.Addr, "--peer", slow.Addr(),
	}, alone)...)
	finish(t, run, tor, dir)

	report := bad.Report()
	if report.SentBytes() == 0 {
		t.Error("the bad peer was never asked: the test proved nothing")
	}
	// Without a ban the bad peer, the fastest, would go on for as long as the good
	// ones take: 5 seconds, hundreds of megabytes.
	if n := report.SentBytes(); n > tor.Size/2 {
		t.Errorf("the bad peer was let send %d bytes", n)
	}
	if e, ok := run.Last("progress"); ok && e.Wasted == 0 {
		t.Error("nothing was counted as wasted")
	}
}

// What a bad peer fails to deliver is asked of the others within seconds. The good
// peer alone would take a second or two.
func TestFailingPeerIsReplacedWithinSeconds(t *testing.T) {
	const bound = 20 * time.Second // time-outs of seconds, and a busy machine
	cases := []struct {
		name   string
		script hostile.Script
	}{
		{"never answers", hostile.NeverAnswers()},
		{"trickles", hostile.Trickles(5 * time.Second)},
		{"stops in the middle of a piece", hostile.StopsAfter(3)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tor := single(t, 4<<20)
			bad, good := scripted(t, tor, c.script), scripted(t, tor, hostile.Slow(2<<20))
			dir := t.TempDir()
			began := time.Now()
			run := start(t, args([]string{
				"download", tor.Path, "-o", dir, "--peer", bad.Addr(), "--peer", good.Addr(),
			}, alone)...)
			finish(t, run, tor, dir)
			if took := time.Since(began); took > bound {
				t.Errorf("the download took %v, want less than %v", took, bound)
			}
			if len(bad.Report().Requests) == 0 {
				t.Error("the failing peer was never asked: the test proved nothing")
			}
		})
	}
}

// A peer that is slow, but the only one, is neither dropped nor asked twice.
func TestSingleSlowPeerIsNotAbandoned(t *testing.T) {
	t.Parallel()
	tor := single(t, 600_000)
	slow := scripted(t, tor, hostile.Slow(25_000)) // a block in two thirds of a second
	dir := t.TempDir()
	run := start(t, args([]string{"download", tor.Path, "-o", dir, "--peer", slow.Addr()}, alone)...)
	finish(t, run, tor, dir)
	report := slow.Report()
	if report.Connections != 1 {
		t.Errorf("%d connections to the only peer, want 1", report.Connections)
	}
	if sent := report.SentBytes(); sent > tor.Size+tor.Size/10 {
		t.Errorf("%d bytes were sent for %d bytes of content", sent, tor.Size)
	}
}
