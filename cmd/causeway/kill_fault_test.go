package main_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
)

// A download that is killed (SIGKILL) at 20 random moments goes on each time where it
// was, asks for nothing again that had time to be verified and stored, and gives the
// same bits.
func TestKilledAtRandomMoments(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute: not with -short")
	}
	t.Parallel()
	const (
		kills = 20
		rate  = 1 << 20 // bytes per second, so that the moments fall within the download
		size  = 24 << 20
		// A piece of which the last block was sent this long before the kill had time
		// to be received, hashed and written, on a busy machine too.
		settled = time.Second
	)
	tor := makeTorrent(t, []fixture.File{
		{Path: "a", Size: size / 2}, {Path: "b", Size: 100}, {Path: "c", Size: size/2 - 100},
	}, fixture.Options{PieceLength: 128 << 10})
	peer := scripted(t, tor, hostile.Slow(rate))
	dir, state := t.TempDir(), t.TempDir()
	command := args([]string{"download", tor.Path, "-o", dir, "--state", state, "--peer", peer.Addr()}, alone)
	random := rand.New(rand.NewPCG(1, 2))

	stored := map[uint32]bool{} // pieces that must not be asked for again
	asked := 0                  // requests already looked at
	for k := range kills {
		began := len(peer.Report().Sent)
		run := start(t, command...)
		if _, err := run.WaitEvent(within(t, patience), "torrent"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.Int64N(int64(1500 * time.Millisecond)))) // the random moment
		run.Kill()
		killed := time.Now()

		eventually(t, patience, "the peer to see the connection close", func() bool { return peer.Report().Open == 0 })
		report := peer.Report()
		for _, r := range report.Requests[asked:] {
			if stored[r.Piece] {
				t.Errorf("after kill %d, piece %d was asked for again", k, r.Piece)
			}
		}
		asked = len(report.Requests)
		for piece := range piecesSent(tor, report.Sent[began:], killed.Add(-settled)) {
			stored[piece] = true
		}
	}

	run := start(t, command...)
	finish(t, run, tor, dir)
	report := peer.Report()
	for _, r := range report.Requests[asked:] {
		if stored[r.Piece] {
			t.Errorf("after the last kill, piece %d was asked for again", r.Piece)
		}
	}
	// What was in flight is lost at each kill; more than a second's worth is not.
	if sent := report.SentBytes(); sent > tor.Size+kills*rate {
		t.Errorf("%d bytes were sent in all for %d bytes of content over %d kills", sent, tor.Size, kills)
	}
	if len(stored) == 0 {
		t.Error("no piece was ever settled before a kill: the test proved nothing")
	}
}

// piecesSent returns the pieces of which all blocks were sent before a moment.
func piecesSent(tor *fixture.Torrent, sent []hostile.Block, before time.Time) map[uint32]bool {
	have := map[uint32]map[uint32]int64{}
	for _, b := range sent {
		if b.At.After(before) {
			continue
		}
		if have[b.Piece] == nil {
			have[b.Piece] = map[uint32]int64{}
		}
		have[b.Piece][b.Begin] = int64(b.Length)
	}
	whole := map[uint32]bool{}
	for piece, blocks := range have {
		var n int64
		for _, length := range blocks {
			n += length
		}
		whole[piece] = n == min(tor.PieceLength, tor.Size-int64(piece)*tor.PieceLength)
		if !whole[piece] {
			delete(whole, piece)
		}
	}
	return whole
}

// An interrupted download says so by its status and goes on as well.
func TestInterruptedAndContinued(t *testing.T) {
	t.Parallel()
	tor := single(t, 4<<20)
	peer := scripted(t, tor, hostile.Slow(2<<20))
	dir, state := t.TempDir(), t.TempDir()
	command := args([]string{"download", tor.Path, "-o", dir, "--state", state, "--peer", peer.Addr()}, alone)
	run := start(t, command...)
	eventually(t, patience, "a mebibyte to arrive", func() bool { return peer.Report().SentBytes() > 1<<20 })
	if err := run.Interrupt(); err != nil {
		t.Fatal(err)
	}
	waitExit(t, run, 130)
	finish(t, start(t, command...), tor, dir)
	const inFlight = 1 << 20
	if again := peer.Report().SentBytes() - tor.Size; again > inFlight {
		t.Errorf("%d bytes were sent twice, want at most what was in flight (%d)", again, inFlight)
	}
}

// The first interrupt waits for what is polite; the second ends at once.
func TestSecondInterrupt(t *testing.T) {
	t.Parallel()
	leaving := make(chan struct{})
	tracker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("event") != "stopped" {
			fmt.Fprint(w, "d8:intervali1800e5:peers0:e")
			return
		}
		close(leaving)
		<-r.Context().Done() // never an answer
	}))
	t.Cleanup(tracker.Close)
	tor := single(t, 1000)
	run := start(t, args([]string{"download", tor.Path, "-o", t.TempDir(), "--no-dht", "--tracker", tracker.URL + "/announce"}, base)...)
	ctx := within(t, patience)
	if _, err := run.WaitFor(ctx, "the tracker's answer", func(e cli.Event) bool { return e.Event == "tracker" && e.State == "ok" }); err != nil {
		t.Fatal(err)
	}
	if err := run.Interrupt(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-leaving:
	case <-run.Done():
		t.Fatal("the download did not wait for the tracker to take its leave")
	case <-ctx.Done():
		t.Fatal("the download does not leave")
	}
	again := time.Now()
	if err := run.Interrupt(); err != nil {
		t.Fatal(err)
	}
	waitExit(t, run, 130)
	if took := time.Since(again); took > time.Second {
		t.Errorf("the second interrupt took %v", took)
	}
}
