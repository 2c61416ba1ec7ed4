package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A disk that hangs, in whatever it is asked, holds no other torrent up, whose handles,
// workers and memory are the same; and its own torrent ends.
func TestHungDisk(t *testing.T) {
	for _, op := range []string{"open", "write", "close", "stat", "sync", "read"} {
		t.Run(op, func(t *testing.T) {
			bad, good := t.TempDir(), t.TempDir()
			hang := make(chan struct{})
			t.Cleanup(func() { close(hang) })
			var hangs atomic.Bool
			handles := NewHandles(3)
			handles.SetFault(func(what, path string) error {
				if what == op && hangs.Load() && strings.HasPrefix(path, bad) {
					<-hang
					return errors.New("it is gone")
				}
				return nil
			})
			pool, memory := NewPool(2), NewMemory(64<<20)
			pool.patience, pool.stall = 200*time.Millisecond, 50*time.Millisecond
			defer pool.Close()
			open := func(dir string, done chan Result) *Storage {
				tr := three(t)
				s, err := Open(Config{Info: tr.Info, Dir: dir, Memory: memory, Pool: pool, Handles: handles, Done: func(r Result) { done <- r }})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			tr := three(t)
			sick := &session{Storage: open(bad, make(chan Result, 100)), t: t, torrent: tr, memory: memory}
			done := make(chan Result, 100)
			well := &session{Storage: open(good, done), t: t, torrent: tr, memory: memory, results: done}
			sick.put(sick.begin(0), tr.piece(0))
			until(t, "first piece", func() bool { return sick.Verified().Has(0) })
			hangs.Store(true)
			for _, i := range []int{1, 3, 4, 5, 6} {
				sick.put(sick.begin(i), tr.piece(i))
			}
			go func() { _, _ = sick.Stamps() }()
			go func() { _, _ = sick.Sync(set(7, 0)) }()
			for range 4 {
				go func() { _ = sick.ReadAt(make([]byte, 10), 0) }()
			}
			go handles.drop(sick.paths...)
			start := time.Now()
			well.must(well.download(all(tr)...))
			well.wantPieces(all(tr)...)
			well.sync()
			if _, err := well.Stamps(); err != nil {
				t.Error(err)
			}
			well.Close()
			sick.Close()
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A fault in a worker ends the piece it was at, and nothing else.
func TestPanicInAWorker(t *testing.T) {
	var panics atomic.Bool
	tr := three(t)
	s := start(t, tr, t.TempDir(), func(c *Config) {
		c.Handles.SetFault(func(op, _ string) error {
			if panics.Load() && op != "close" {
				panic("oh dear")
			}
			return nil
		})
	})
	s.must(s.download(0))
	panics.Store(true)
	var fault *PanicError
	if err := s.download(1); !errors.As(err, &fault) || len(fault.Stack) == 0 {
		t.Errorf("the piece ended with %v, want the panic", err)
	}
	if s.memory.Reserved() != 0 || s.memory.lent != 0 {
		t.Error("the piece kept its memory")
	}
	err := s.Check(t.Context(), set(7, 0), func(int, bool) { t.Error("it was checked") })
	if !errors.As(err, &fault) {
		t.Errorf("the check ended with %v, want the panic", err)
	}
	panics.Store(false)
	s.must(s.download(1, 2))
	s.wantPieces(0, 1, 2)
	s.Wait()
}

// A panic in what is called at the end of a piece is kept as well.
func TestPanicInDone(t *testing.T) {
	tr := newTorrent(t, entry{"f", 2 * pieceLength, ""})
	var calls atomic.Int64
	s := start(t, tr, t.TempDir(), func(c *Config) {
		c.Done = func(Result) {
			calls.Add(1)
			panic("oh dear")
		}
	})
	for i := range 2 {
		s.put(s.begin(i), tr.piece(i))
		until(t, "end of the piece", func() bool { return calls.Load() > int64(i) })
	}
	s.Wait()
}

// What a disk could not do is done when its cause is gone.
func TestErrorsOfTheDiskAreNotFinal(t *testing.T) {
	for _, op := range []string{"open", "write", "read", "stat", "sync"} {
		t.Run(op, func(t *testing.T) {
			fail := errors.New("the cable is loose")
			var fails atomic.Bool
			tr, dir := three(t), t.TempDir()
			s := start(t, tr, dir, func(c *Config) {
				c.Handles.SetFault(func(what, _ string) error {
					if what == op && fails.Load() {
						return fail
					}
					return nil
				})
			})
			s.must(s.fetchSome(0, 1))
			s.cfg.Handles.drop(s.paths...)
			fails.Store(true)
			downErr := s.download(3)
			readErr := s.ReadAt(make([]byte, 10), 0)
			_, stampErr := s.Stamps()
			_, syncErr := s.Sync(set(7, 0, 1))
			if err := errors.Join(downErr, readErr, stampErr, syncErr); !errors.Is(err, fail) {
				t.Errorf("nothing failed: %v", err)
			}
			fails.Store(false)
			s.lookNow()
			missing, err := s.claim(nil)
			s.must(err)
			s.must(s.download(missing...))
			s.wantPieces(all(tr)...)
			s.sync()
		})
	}
}

func (s *session) fetchSome(pieces ...int) error {
	s.t.Helper()
	if _, err := s.claim(nil); err != nil {
		return err
	}
	return s.download(pieces...)
}

// After an fsync that failed, data counts as synced only when it was read back and a
// later one succeeded: the system reports it once, and may have dropped the data.
func TestFailedSync(t *testing.T) {
	for _, op := range []string{"sync", "close"} {
		t.Run(op, func(t *testing.T) {
			tr, dir := three(t), t.TempDir()
			lost := &losses{}
			var fails atomic.Bool
			s := start(t, tr, dir, func(c *Config) {
				c.Lost = lost.add
				c.Handles.SetFault(func(what, path string) error {
					if what == op && fails.Load() && filepath.Base(path) == "a" {
						return errors.New("input/output error")
					}
					return nil
				})
			})
			s.must(s.fetchSome(0))
			synced, err := s.Sync(set(7, 0))
			s.must(err)
			if string(synced) != string(set(7, 0)) {
				t.Fatalf("synced are %08b", synced)
			}
			s.must(s.download(1, 2, 3))
			have := set(7, 0, 1, 2, 3)
			fails.Store(true)
			s.cfg.Handles.drop(s.paths...)
			synced, err = s.Sync(have)
			if err == nil || string(synced) != string(set(7, 0, 3)) {
				t.Errorf("synced are %08b, %v; want those of the other file, and that of before", synced, err)
			}
			fails.Store(false)
			// What the system dropped.
			path := filepath.Join(dir, "t/a")
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			s.must(err)
			_, err = f.WriteAt(make([]byte, 4096), 2*pieceLength)
			s.must(errors.Join(err, f.Close()))
			synced, err = s.Sync(have)
			s.must(err)
			if string(synced) != string(set(7, 0, 1, 3)) || len(lost.sorted()) != 1 || lost.sorted()[0] != 2 {
				t.Errorf("synced are %08b, lost %v; want that piece 2 is lost", synced, lost.sorted())
			}
			s.must(s.download(2))
			synced, err = s.Sync(have)
			s.must(err)
			if string(synced) != string(have) {
				t.Errorf("in the end %08b are synced", synced)
			}
		})
	}
}

// A file system may fail for as long as it likes.
func TestSyncFailsTwice(t *testing.T) {
	tr := three(t)
	fail := errors.New("input/output error")
	failures := 3
	s := start(t, tr, t.TempDir(), func(c *Config) {
		c.Handles.SetFault(func(op, _ string) error {
			if op == "sync" && failures > 0 {
				failures--
				return fail
			}
			return nil
		})
	})
	s.must(s.fetchSome(0))
	for range 3 {
		if synced, err := s.Sync(set(7, 0)); !errors.Is(err, fail) || synced.Count() != 0 {
			t.Fatalf("synced %08b, %v", synced, err)
		}
		s.must(s.download(1))
	}
	synced, err := s.Sync(set(7, 0, 1))
	s.must(err)
	if synced.Count() != 2 {
		t.Errorf("synced are %08b", synced)
	}
}
