package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
)

// damage changes a byte of a file in place, and keeps its time: only hashing tells.
func damage(t *testing.T, path string, at int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	f.ReadAt(b[:], at)
	b[0] ^= 1
	_, err = f.WriteAt(b[:], at)
	if err := errors.Join(err, f.Close(), os.Chtimes(path, time.Time{}, info.ModTime())); err != nil {
		t.Fatal(err)
	}
}

// isClosed reports whether a channel is.
func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// A folder that has vanished ends the torrent, until it is there again and Start is called.
func TestStartAfterTheFolderVanished(t *testing.T) {
	for _, again := range []string{"put back", "not put back"} {
		t.Run(again, func(t *testing.T) {
			l := newLife(t, func(cfg *Config, _ *meta.Source, opts *TorrentOptions) {
				cfg.DownLimit = 300 << 10
				opts.Dir = filepath.Join(opts.Dir, "sub")
			})
			l.must(l.Start(l.ctx()))
			until(t, 20*time.Second, "some pieces", func() bool { return l.Stats().Completed > 0 })
			aside := filepath.Join(l.dir, "aside")
			l.must(os.Rename(l.Dir(), aside))
			select {
			case <-l.Failed():
			case <-time.After(20 * time.Second):
				t.Fatalf("it goes on without its folder: %+v", l.Stats())
			}
			if !errors.Is(l.Err(), disk.ErrVanished) {
				t.Errorf("it failed with %v", l.Err())
			}
			l.client.SetLimits(Limits{})
			if again == "put back" {
				os.RemoveAll(l.Dir())
				l.must(os.Rename(aside, l.Dir()))
			}
			l.finish()
			if isClosed(l.Failed()) || l.Err() != nil {
				t.Errorf("it has failed still: %v", l.Err())
			}
			l.nothingLeft()
		})
	}
}

// Complete and Failed are closed while that is so, and open again afterwards.
func TestCompleteIsOpenAgain(t *testing.T) {
	l := newLife(t, nil)
	l.finish()
	path := filepath.Join(l.dir, "data.bin")
	before := l.Stats().Downloaded
	l.must(l.Recheck(l.ctx()))
	await(t, "the check", l.Torrent, l.Complete())
	if n := l.Stats().Downloaded; n != before {
		t.Errorf("%d bytes were downloaded again after a check of what is right", n-before)
	}
	l.must(l.Stop(l.ctx()))
	if isClosed(l.Complete()) {
		t.Error("a torrent that is stopped is complete")
	}
	if s := l.Stats(); s.Completed != l.torrent.Info.Length || s.Left != 0 || s.Wanted != s.Length || s.State != StateStopped {
		t.Errorf("what is known of a torrent that is stopped: %+v", s)
	}
	damage(t, path, 5*64<<10)
	damage(t, path, 7*64<<10)
	l.must(l.Recheck(l.ctx())) // which starts it
	if isClosed(l.Complete()) {
		t.Error("a torrent that is being checked is complete")
	}
	await(t, "the download", l.Torrent, l.Complete())
	sameFile(t, filepath.Join(l.from, "data.bin"), path)
	if n := l.Stats().Downloaded - before; n != 2*64<<10 {
		t.Errorf("%d bytes were downloaded for two pieces that were damaged", n)
	}
	l.nothingLeft()
}

// Events tell each change once.
func TestEventsTellEveryChange(t *testing.T) {
	l := newLife(t, nil)
	to := t.TempDir()
	l.finish()
	l.must(l.SetLimits(Limits{Up: 5 << 20}))
	l.must(l.Select(l.ctx(), ""))
	l.must(l.Stop(l.ctx()))
	l.must(l.Stop(l.ctx()))
	l.must(l.Move(l.ctx(), to))
	l.must(l.Recheck(l.ctx()))
	await(t, "the check", l.Torrent, l.Complete())
	l.do(func() { l.fail(errors.New("a fault that a test made")) })
	<-l.Failed()
	l.must(l.Start(l.ctx()))
	await(t, "the check", l.Torrent, l.Complete())
	l.must(l.Remove(l.ctx(), true))
	var told []string
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		switch e := e.(type) {
		case StateEvent:
			s := string(e.State)
			if e.Err != nil {
				s += ": " + e.Err.Error()
			}
			told = append(told, s)
		case CheckingEvent: // as many as the check takes
		case LimitsEvent:
			told = append(told, fmt.Sprint("limits ", e.Limits.Up))
		case MovedEvent:
			if e.Dir != to {
				t.Errorf("moved to %s", e.Dir)
			}
			told = append(told, "moved")
		case RemovedEvent:
			told = append(told, fmt.Sprint("removed ", e.Data))
		default:
			told = append(told, strings.TrimPrefix(fmt.Sprintf("%T", e), "client."))
		}
	}
	want := []string{
		"checking", "downloading", "CompleteEvent", "seeding", "limits 5242880", "SelectionEvent", "stopped",
		"moving", "moved", "stopped", "checking", "downloading", "CompleteEvent", "seeding",
		"failed: a fault that a test made", "checking", "downloading", "CompleteEvent", "seeding", "stopped", "removed true",
	}
	// Whether a torrent that is complete from the start counts as downloading for a
	// moment, and which of the two comes first, tells nothing.
	trim := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "downloading" || s == "CompleteEvent" })
	}
	if !slices.Equal(trim(told), trim(want)) {
		t.Errorf("told\n%q, want\n%q", trim(told), trim(want))
	}
	if n := strings.Count(strings.Join(told, " "), "CompleteEvent"); n != 3 {
		t.Errorf("it was told %d times that the torrent is complete", n)
	}
}

// What was sent and received is counted once, however often a torrent or the client is
// stopped and started.
func TestTotalsAreCountedOnce(t *testing.T) {
	l := newLife(t, func(cfg *Config, _ *meta.Source, _ *TorrentOptions) { cfg.DownLimit = 500 << 10 })
	store := disk.NewStore(l.client.cfg.StateDir)
	total := func() (down, up int64) {
		t.Helper()
		state, err := store.Load(l.InfoHash(), l.Dir())
		if err != nil || state == nil {
			t.Fatalf("the state: %v, %v", state, err)
		}
		return state.Downloaded, state.Uploaded
	}
	for i := range 3 {
		l.must(l.Start(l.ctx()))
		before := l.Stats().Downloaded
		until(t, 20*time.Second, "some more", func() bool { return l.Stats().Downloaded > before })
		l.must(l.Stop(l.ctx()))
		if down, _ := total(); down != l.Stats().Downloaded {
			t.Errorf("stop %d: %d bytes are remembered, %d came", i, down, l.Stats().Downloaded)
		}
	}
	l.client.SetLimits(Limits{})
	l.finish()
	l.must(l.Recheck(l.ctx()))
	await(t, "the check", l.Torrent, l.Complete())
	sent := l.Stats().Uploaded
	other := newClient(t, plain(t))
	leech := add(t, other, &meta.Source{Torrent: l.torrent}, TorrentOptions{Dir: t.TempDir(), Peers: []string{l.client.TCPAddr().String()}})
	await(t, "another's download", leech, leech.Complete())
	l.must(l.Stop(l.ctx()))
	first := l.Stats()
	if first.Uploaded-sent != l.torrent.Info.Length {
		t.Errorf("%d bytes were sent, of %d", first.Uploaded-sent, l.torrent.Info.Length)
	}
	l.must(l.client.Close())
	down, up := total()
	if down != first.Downloaded || up != first.Uploaded {
		t.Errorf("%d and %d bytes are remembered of %d and %d", down, up, first.Downloaded, first.Uploaded)
	}
	// Another run, which sends it once more.
	cfg := plain(t)
	cfg.StateDir = l.client.cfg.StateDir
	c := newClient(t, cfg)
	again := add(t, c, &meta.Source{Torrent: l.torrent}, TorrentOptions{Dir: l.dir})
	await(t, "the second run", again, again.Complete())
	l.must(leech.Close())
	leech = add(t, other, &meta.Source{Torrent: l.torrent}, TorrentOptions{Dir: t.TempDir(), Peers: []string{c.TCPAddr().String()}})
	await(t, "a third download", leech, leech.Complete())
	l.must(c.Close())
	if d, u := total(); d != down || u != up+l.torrent.Info.Length {
		t.Errorf("after another run: %d and %d bytes, want %d and %d", d, u, down, up+l.torrent.Info.Length)
	}
}

// announces is a tracker that remembers what it is told.
func announces(t *testing.T) (url string, told func() []string) {
	var mu sync.Mutex
	var list []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if event := r.URL.Query().Get("event"); event != "" {
			list = append(list, event+" "+r.URL.Query().Get("left"))
		}
		fmt.Fprint(w, "d8:intervali1800e5:peers0:e")
	}))
	t.Cleanup(s.Close)
	return s.URL + "/announce", func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(list)
	}
}

// Trackers hear of each start and stop, with what is left, and once of the end of the
// download.
func TestTrackersHearOfStartsAndStops(t *testing.T) {
	url, told := announces(t)
	l := newLife(t, func(cfg *Config, _ *meta.Source, opts *TorrentOptions) {
		cfg.DisableTrackers = false
		opts.Trackers = []string{url}
	})
	l.finish()
	until(t, 10*time.Second, "heard of the end", func() bool { return slices.Contains(told(), "completed 0") })
	for range 2 {
		l.must(l.Stop(l.ctx()))
		l.finish()
		until(t, 10*time.Second, "heard of the start", func() bool { n := told(); return strings.HasPrefix(n[len(n)-1], "started") })
	}
	l.must(l.Recheck(l.ctx()))
	await(t, "the check", l.Torrent, l.Complete())
	l.nothingLeft()
	want := []string{"started", "completed 0", "stopped 0", "started 0", "stopped 0", "started 0", "stopped 0"}
	got := told()
	if len(got) > 0 && strings.HasPrefix(got[0], "started") {
		got[0] = "started" // when that is depends on the tracker
	}
	if !slices.Equal(got, want) {
		t.Errorf("the tracker was told %q, want %q", got, want)
	}
}
