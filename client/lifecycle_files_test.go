package client

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
)

// folder makes a life of a torrent of three files, a, b and c.
func newFolderLife(t *testing.T, selected string) *life {
	return newLife(t, func(_ *Config, src *meta.Source, opts *TorrentOptions) {
		dir, torrent := makeFolder(t)
		seed := newClient(t, plain(t))
		add(t, seed, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: dir})
		*src = meta.Source{Torrent: torrent}
		opts.Select, opts.Peers = selected, []string{seed.TCPAddr().String()}
		t.Cleanup(func() {
			for _, name := range []string{"a", "b", "c"} {
				path := filepath.Join(opts.Dir, "data", name)
				if _, err := os.Stat(path); err == nil && !t.Failed() {
					sameFile(t, filepath.Join(dir, "data", name), path)
				}
			}
		})
	})
}

// wantFiles checks which files of a folder's torrent there are.
func (l *life) wantFiles(part bool, names ...string) {
	l.t.Helper()
	for _, name := range []string{"a", "b", "c"} {
		_, err := os.Stat(filepath.Join(l.Dir(), "data", name))
		if want := slices.Contains(names, name); (err == nil) != want {
			l.t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
	if found, _ := filepath.Glob(filepath.Join(l.Dir(), ".*.parts")); (len(found) > 0) != part {
		l.t.Errorf("the part file: %v, want %v", found, part)
	}
}

// The selection grows and shrinks while the torrent runs, while it is stopped, and while
// its files are checked. What files share goes to and fro.
func TestSelectAtRunTime(t *testing.T) {
	const piece = 64 << 10
	l := newFolderLife(t, "a")
	l.must(l.Start(l.ctx()))
	await(t, "a", l.Torrent, l.Complete())
	l.wantFiles(true, "a")
	if s := l.Stats(); s.Wanted != 4*piece || s.Completed != 4*piece || s.Left != 0 || s.State != StateSeeding {
		t.Errorf("with a: %+v", s)
	}
	l.must(l.Select(l.ctx(), "a,b"))
	if got := l.Selected(); !slices.Equal(got, []bool{true, true, false}) {
		t.Errorf("selected are %v", got)
	}
	await(t, "b", l.Torrent, l.Complete())
	l.wantFiles(true, "a", "b")
	if s := l.Stats(); s.Wanted != 7*piece || s.Left != 0 {
		t.Errorf("with b: %+v", s)
	}
	l.must(l.Select(l.ctx(), "a")) // b stays
	l.wantFiles(true, "a", "b")
	if s := l.Stats(); s.Wanted != 4*piece || s.Completed != 7*piece || s.Left != 0 {
		t.Errorf("without b: %+v", s)
	}
	l.must(l.Stop(l.ctx()))
	l.must(l.Select(l.ctx(), ""))
	if s := l.Stats(); s.Wanted != 510_000 || s.Completed != 7*piece || s.Left != 510_000-7*piece {
		t.Errorf("all, stopped: %+v", s)
	}
	l.must(l.Start(l.ctx()))
	await(t, "c", l.Torrent, l.Complete())
	l.wantFiles(false, "a", "b", "c")

	// While it is checked.
	for range checksAtOnce {
		l.must(l.client.checks.Take(l.ctx()))
	}
	l.must(l.Recheck(l.ctx()))
	l.must(l.Select(l.ctx(), "c"))
	for range checksAtOnce {
		l.client.checks.Done()
	}
	await(t, "the check", l.Torrent, l.Complete())
	if s := l.Stats(); s.Wanted != 510_000-6*piece || s.Left != 0 {
		t.Errorf("c, while it is checked: %+v", s)
	}
	if err := l.Select(l.ctx(), "d"); err == nil {
		t.Error("a file that is not there was selected")
	}
	l.nothingLeft()
}

// Files of the user's own are not overwritten by what is selected later, and the torrent
// goes on without them.
func TestSelectLeavesTheUsersFilesAlone(t *testing.T) {
	l := newFolderLife(t, "a")
	l.must(l.Start(l.ctx()))
	await(t, "a", l.Torrent, l.Complete())
	path := filepath.Join(l.dir, "data", "b")
	own := []byte("a letter of the user's")
	l.must(os.WriteFile(path, own, 0o666))
	taken := (*disk.TakenError)(nil)
	if err := l.Select(l.ctx(), "a,b"); !errors.As(err, &taken) {
		t.Errorf("selecting what is in the way of a file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, own) {
		t.Errorf("the user's file: %q, %v", b, err)
	}
	if s := l.Stats().State; s != StateSeeding || !slices.Equal(l.Selected(), []bool{true, false, false}) {
		t.Errorf("the torrent is %s, with %v", s, l.Selected())
	}
	l.must(l.Remove(l.ctx(), true))
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, own) {
		t.Errorf("the user's file after Remove: %q, %v", b, err)
	}
	l.wantFiles(false, "b")
	l.must(os.Remove(path))
}

// A live torrent is moved while data comes in, and goes on in the other folder; so do
// those that are stopped, checked, or without metadata.
func TestMoveAtRunTime(t *testing.T) {
	l := newLife(t, func(cfg *Config, _ *meta.Source, _ *TorrentOptions) { cfg.DownLimit = 400 << 10 })
	l.must(l.Start(l.ctx()))
	until(t, 20*time.Second, "some pieces", func() bool { return l.Stats().Completed > 0 })
	for range 5 {
		to, from := t.TempDir(), l.Dir()
		before := l.Stats().Downloaded
		l.must(l.Move(l.ctx(), to))
		if l.Dir() != to {
			t.Errorf("it is in %s", l.Dir())
		}
		until(t, 20*time.Second, "some more", func() bool { return l.Stats().Downloaded > before })
		if left, _ := os.ReadDir(from); len(left) > 0 {
			t.Errorf("%v stayed behind", left)
		}
	}
	l.client.SetLimits(Limits{})
	await(t, "the download", l.Torrent, l.Complete())
	if s := l.Stats(); s.Downloaded != l.torrent.Info.Length {
		t.Errorf("%d bytes came for %d", s.Downloaded, l.torrent.Info.Length)
	}
	l.must(l.Stop(l.ctx()))
	l.must(l.Move(l.ctx(), t.TempDir()))
	if s := l.Stats().State; s != StateStopped {
		t.Errorf("it is %s after a move", s)
	}
	before := l.Stats().Downloaded
	l.finish()
	if n := l.Stats().Downloaded; n != before {
		t.Errorf("%d bytes came after a move", n-before)
	}
	l.do(func() { l.fail(errors.New("a fault that a test made")) })
	<-l.Failed()
	l.must(l.Move(l.ctx(), t.TempDir()))
	if s := l.Stats().State; s != StateFailed || l.Err() == nil {
		t.Errorf("a torrent that failed is %s (%v) after a move", s, l.Err())
	}
	l.finish()
	l.nothingLeft()
}

// A move that cannot be is taken back, and the torrent goes on where it was, now and after
// Stop and Start; what is in the way stays.
func TestMoveThatFails(t *testing.T) {
	for _, running := range []bool{true, false} {
		l := newFolderLife(t, "")
		l.must(l.Start(l.ctx()))
		await(t, "the download", l.Torrent, l.Complete())
		if !running {
			l.must(l.Stop(l.ctx()))
		}
		base := t.TempDir()
		file := filepath.Join(base, "file")
		l.must(os.WriteFile(file, []byte("mine"), 0o666))
		inTheWay := filepath.Join(base, "taken", "data", "c")
		l.must(os.MkdirAll(filepath.Dir(inTheWay), 0o777))
		l.must(os.WriteFile(inTheWay, []byte("mine"), 0o666))
		half := filepath.Join(base, "half") // where the third file cannot be moved to
		n := 0
		for _, to := range []string{filepath.Join(file, "sub"), filepath.Join(base, "taken"), half} {
			l.mu.Lock()
			l.fault = nil
			if to == half {
				l.fault = func(op, path string) error {
					if op == "rename" {
						if n++; n == 3 {
							return os.ErrPermission
						}
					}
					return nil
				}
			}
			l.mu.Unlock()
			if err := l.Move(l.ctx(), to); err == nil {
				t.Errorf("it was moved to %s", to)
			}
			if l.Dir() != l.dir {
				t.Errorf("it is in %s", l.Dir())
			}
			l.wantFiles(false, "a", "b", "c")
		}
		if n < 3 {
			t.Errorf("%d files were moved", n)
		}
		if left, _ := os.ReadDir(half); len(left) > 0 {
			t.Errorf("%v stayed behind", left)
		}
		before := l.Stats()
		if want := map[bool]State{true: StateSeeding, false: StateStopped}[running]; before.State != want {
			t.Errorf("it is %s, want %s", before.State, want)
		}
		l.must(l.Stop(l.ctx()))
		l.must(l.Start(l.ctx()))
		await(t, "the start", l.Torrent, l.Complete())
		if n := l.Stats().Downloaded - before.Downloaded; n != 0 {
			t.Errorf("%d bytes were downloaded again", n)
		}
		l.must(l.Move(l.ctx(), t.TempDir())) // elsewhere
		l.wantFiles(false, "a", "b", "c")
		l.nothingLeft()
	}
}

// Remove takes what is the torrent's own and nothing else, in whatever state it is.
func TestRemoveTakesItsOwn(t *testing.T) {
	for _, state := range []string{"stopped", "seeding", "downloading", "failed", "vanished"} {
		for _, data := range []bool{true, false} {
			t.Run(fmt.Sprint(state, " ", data), func(t *testing.T) {
				l := newFolderLife(t, "")
				notes := filepath.Join(l.dir, "data", "notes.txt")
				l.must(os.MkdirAll(filepath.Dir(notes), 0o777))
				l.must(os.WriteFile(notes, []byte("mine"), 0o666))
				if state == "downloading" {
					l.client.SetLimits(Limits{Down: 100 << 10})
					l.must(l.Start(l.ctx()))
					until(t, 20*time.Second, "some pieces", func() bool { return l.Stats().Completed > 0 })
				} else {
					l.must(l.Start(l.ctx()))
					await(t, "the download", l.Torrent, l.Complete())
				}
				switch state {
				case "stopped":
					l.must(l.Stop(l.ctx()))
				case "failed":
					l.do(func() { l.fail(errors.New("a fault that a test made")) })
				case "vanished":
					l.must(l.Stop(l.ctx()))
					l.must(os.RemoveAll(filepath.Join(l.dir, "data")))
				}
				l.must(l.Remove(l.ctx(), data))
				if data {
					l.wantFiles(false)
				} else if state != "vanished" && state != "downloading" {
					l.wantFiles(false, "a", "b", "c")
				}
				if _, err := os.Stat(notes); err != nil && state != "vanished" {
					t.Errorf("the user's file: %v", err)
				}
				entries, err := l.client.store.List()
				if err != nil || len(entries) != 0 {
					t.Errorf("%v is remembered, %v", entries, err)
				}
				if state == "downloading" {
					os.RemoveAll(filepath.Join(l.dir, "data"))
				}
				// It may come again.
				again := add(t, l.client, l.again, TorrentOptions{Dir: t.TempDir(), Stopped: true})
				if again.InfoHash() != l.InfoHash() {
					t.Error("another torrent came")
				}
				l.nothingLeft()
			})
		}
	}
}

// What is shared with another torrent stays for it, and what was changed for the user.
func TestRemoveKeepsWhatIsNotItsOwn(t *testing.T) {
	l := newFolderLife(t, "")
	l.must(l.Start(l.ctx()))
	await(t, "the download", l.Torrent, l.Complete())
	l.must(l.Stop(l.ctx()))
	path := filepath.Join(l.dir, "data", "b")
	other := make([]byte, 210_000)
	rand.Read(other)
	l.must(os.WriteFile(path, other, 0o666))
	l.must(l.Remove(l.ctx(), true))
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, other) {
		t.Errorf("a file that the user replaced: %v", err)
	}
	l.wantFiles(false, "b")
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.ContainsFunc(l.events, func(e Event) bool {
		w, ok := e.(WarningEvent)
		return ok && strings.Contains(w.Message, path+" is kept")
	}) {
		t.Error("nothing tells that it is kept")
	}
	l.must(os.Remove(path))
}
