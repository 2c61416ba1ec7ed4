package hostile_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/hostile"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// libtorrent is the judge of whether a scripted peer speaks the protocol.
func download(t *testing.T, script hostile.Script) (*hostile.Peer, *realpeer.Peer, *fixture.Torrent, string) {
	t.Helper()
	realpeer.Need(t, realpeer.Libtorrent)
	tor, err := fixture.Make(t.TempDir(), "content", []fixture.File{{Size: 1 << 20}}, fixture.Options{PieceLength: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	p, err := hostile.Listen(tor, script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	dir := t.TempDir()
	lt := realpeer.Start(t, realpeer.Options{
		Program: realpeer.Libtorrent, Torrent: tor.Path, Dir: dir, Peers: []string{p.Addr()},
	})
	return p, lt, tor, dir
}

func TestHonestPeerServesLibtorrent(t *testing.T) {
	p, lt, tor, dir := download(t, hostile.Honest())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := lt.WaitComplete(ctx); err != nil {
		t.Fatal(err)
	}
	lt.Stop()
	if err := tor.Compare(dir); err != nil {
		t.Error(err)
	}
	if r := p.Report(); r.SentBytes() < tor.Size || r.Connections == 0 {
		t.Errorf("report %d bytes sent over %d connections, want all of %d", r.SentBytes(), r.Connections, tor.Size)
	}
}

func TestSilentPeerIsAskedAndSendsNothing(t *testing.T) {
	p, lt, _, _ := download(t, hostile.NeverAnswers())
	deadline := time.After(20 * time.Second)
	for len(p.Report().Requests) == 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("libtorrent asked for nothing\n%s", lt.Output())
		}
	}
	if sent := p.Report().SentBytes(); sent != 0 {
		t.Errorf("a silent peer sent %d bytes", sent)
	}
}
