package client

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
)

// life is a torrent to be downloaded from a seed, by a client whose disk can be made to
// hang.
type life struct {
	t       *testing.T
	from    string // where the seed has it
	dir     string // where it is downloaded to
	torrent *meta.Torrent
	again   *meta.Source // of it
	seed    *Client
	client  *Client
	*Torrent

	mu     sync.Mutex
	hang   func(op, path string) bool
	fault  func(op, path string) error
	gate   chan struct{} // closed when the disk goes on
	events []Event
}

// newLife makes a client with a torrent that is stopped. configure may change the rest.
func newLife(t *testing.T, configure func(*Config, *meta.Source, *TorrentOptions)) *life {
	t.Helper()
	l := &life{t: t, dir: t.TempDir(), gate: make(chan struct{})}
	l.from, l.torrent = makeTorrent(t, "data.bin", 20*64<<10+1000)
	l.seed = newClient(t, plain(t))
	add(t, l.seed, &meta.Source{Torrent: l.torrent}, TorrentOptions{Dir: l.from})
	cfg, src := plain(t), &meta.Source{Torrent: l.torrent}
	cfg.OnEvent = func(e Event) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.events = append(l.events, e)
	}
	opts := TorrentOptions{Dir: l.dir, Stopped: true, Peers: []string{l.seed.TCPAddr().String()}}
	if configure != nil {
		configure(&cfg, src, &opts)
	}
	l.client = newClient(t, cfg)
	l.client.handles.SetFault(func(op, path string) error {
		l.mu.Lock()
		hang, gate, fault := l.hang, l.gate, l.fault
		l.mu.Unlock()
		if hang != nil && hang(op, path) {
			<-gate
		}
		if fault != nil {
			return fault(op, path)
		}
		return nil
	})
	t.Cleanup(l.release)
	l.again = src
	l.Torrent = add(t, l.client, src, opts)
	return l
}

// hangAt makes the disk hang at an operation on a file of the torrent, from now on.
func (l *life) hangAt(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gate = make(chan struct{})
	l.hang = func(op, _ string) bool { return op == what }
}

// release lets the disk go on.
func (l *life) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hang != nil {
		close(l.gate)
	}
	l.hang = nil
}

func (l *life) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	l.t.Cleanup(cancel)
	return ctx
}

func (l *life) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) await(state State) {
	l.t.Helper()
	until(l.t, 20*time.Second, string(state), func() bool { return l.Stats().State == state })
}

// finish starts the torrent, and checks what is downloaded.
func (l *life) finish() {
	l.t.Helper()
	l.must(l.Start(l.ctx()))
	await(l.t, "the download", l.Torrent, l.Complete())
	sameFile(l.t, filepath.Join(l.from, "data.bin"), filepath.Join(l.Dir(), "data.bin"))
}

// nothingLeft closes the client, and checks that it holds nothing.
func (l *life) nothingLeft() {
	l.t.Helper()
	if err := l.client.Close(); err != nil {
		l.t.Error(err)
	}
	if n := l.client.memory.Reserved(); n != 0 {
		l.t.Errorf("%d bytes of memory are reserved", n)
	}
	if n := l.client.conns.Len(); n != 0 {
		l.t.Errorf("%d places of connections are taken", n)
	}
	if n := l.client.early.Taken(); n != 0 {
		l.t.Errorf("%d bytes of the early budget are taken", n)
	}
}

// states are ways into each state, with a torrent that is stopped. leave undoes what
// keeps it there.
var states = []struct {
	name   string
	magnet bool
	enter  func(l *life) (leave func())
}{
	{"stopped", false, func(l *life) func() { return func() {} }},
	{"stopped before the metadata", true, func(l *life) func() { return func() {} }},
	{"metadata", true, func(l *life) func() {
		l.must(l.Start(l.ctx()))
		l.await(StateMetadata)
		return func() { l.AddPeers([]string{l.seed.TCPAddr().String()}) }
	}},
	{"checking", false, func(l *life) func() {
		if err := os.WriteFile(filepath.Join(l.dir, "data.bin"), readData(l.t, l.from)[:3*64<<10], 0o666); err != nil {
			l.t.Fatal(err)
		}
		for range checksAtOnce {
			l.must(l.client.checks.Take(l.ctx()))
		}
		l.must(l.Start(l.ctx()))
		l.await(StateChecking)
		return func() {
			for range checksAtOnce {
				l.client.checks.Done()
			}
		}
	}},
	{"downloading", false, func(l *life) func() {
		l.client.SetLimits(Limits{Down: 64 << 10})
		l.must(l.Start(l.ctx()))
		until(l.t, 20*time.Second, "open pieces", func() bool { return l.client.memory.Reserved() > 0 })
		return func() { l.client.SetLimits(Limits{}) }
	}},
	{"seeding", false, func(l *life) func() {
		l.must(l.Start(l.ctx()))
		l.await(StateSeeding)
		return func() {}
	}},
	{"failed", false, func(l *life) func() {
		l.must(l.Start(l.ctx()))
		l.await(StateSeeding)
		l.do(func() { l.fail(errors.New("a fault that a test made")) })
		<-l.Failed()
		return func() {}
	}},
	{"saving", false, func(l *life) func() {
		l.hangAt("sync")
		l.must(l.Start(l.ctx()))
		l.await(StateSeeding)
		return l.release
	}},
	{"writing", false, func(l *life) func() {
		l.hangAt("write")
		l.must(l.Start(l.ctx()))
		until(l.t, 20*time.Second, "open pieces", func() bool { return l.client.memory.Reserved() > 0 })
		return l.release
	}},
	{"moving", false, func(l *life) func() {
		l.must(l.Start(l.ctx()))
		l.await(StateSeeding)
		l.must(l.Stop(l.ctx()))
		l.hangAt("rename")
		ctx, cancel := context.WithCancel(context.Background())
		moved := make(chan error, 1)
		to := l.t.TempDir()
		go func() { moved <- l.Move(ctx, to) }()
		l.await(StateMoving)
		l.t.Cleanup(func() { // whether it was done depends on what was called meanwhile
			cancel()
			<-moved
		})
		return l.release
	}},
	{"moving live", false, func(l *life) func() {
		l.must(l.Start(l.ctx()))
		l.await(StateSeeding)
		l.hangAt("rename")
		moved := make(chan error, 1)
		to := l.t.TempDir()
		ctx, cancel := context.WithCancel(context.Background())
		go func() { moved <- l.Move(ctx, to) }()
		until(l.t, 20*time.Second, "a move under way", func() bool { return len(l.changing) > 0 })
		l.t.Cleanup(func() {
			cancel()
			<-moved
		})
		return l.release
	}},
}

// calls are what may be called. removes: nothing else is possible afterwards.
var calls = []struct {
	name    string
	removes bool
	call    func(ctx context.Context, l *life) error
}{
	{"Start", false, func(ctx context.Context, l *life) error { return l.Start(ctx) }},
	{"Stop", false, func(ctx context.Context, l *life) error { return l.Stop(ctx) }},
	{"Recheck", false, func(ctx context.Context, l *life) error { return l.Recheck(ctx) }},
	{"Select", false, func(ctx context.Context, l *life) error { return l.Select(ctx, "0") }},
	{"SetLimits", false, func(_ context.Context, l *life) error { return l.SetLimits(Limits{Down: 1 << 30, MaxPeers: 3}) }},
	{"Move", false, func(ctx context.Context, l *life) error { return l.Move(ctx, l.t.TempDir()) }},
	{"Remove", true, func(ctx context.Context, l *life) error { return l.Remove(ctx, false) }},
	{"Remove with data", true, func(ctx context.Context, l *life) error { return l.Remove(ctx, true) }},
	{"Close", true, func(_ context.Context, l *life) error { return l.Torrent.Close() }},
}

// Every method may be called in every state. It returns, with a reader waiting, and the
// torrent goes on from there.
func TestEveryCallInEveryState(t *testing.T) {
	for _, state := range states {
		for _, c := range calls {
			t.Run(state.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				l := newLife(t, func(_ *Config, src *meta.Source, opts *TorrentOptions) {
					if state.magnet {
						*src = meta.Source{Magnet: bareMagnet(src.Torrent)}
						opts.Peers = nil
					}
				})
				leave := state.enter(l)
				var reading sync.WaitGroup
				if l.Info() != nil {
					r, err := l.OpenFile(t.Context(), 0)
					l.must(err)
					reading.Go(func() { r.Read(make([]byte, 1000)) })
					t.Cleanup(func() { r.Close() })
				}
				done := make(chan error, 1)
				go func() { done <- c.call(l.ctx(), l) }()
				left := time.AfterFunc(500*time.Millisecond, leave) // what hangs goes on some time
				t.Cleanup(func() { left.Stop() })
				select {
				case err := <-done:
					if err != nil && (!state.magnet || !errors.Is(err, ErrNoInfo)) {
						t.Errorf("it says: %v", err)
					}
				case <-time.After(30 * time.Second):
					t.Fatal("it does not return")
				}
				if left.Stop() {
					leave()
				}
				if c.removes {
					reading.Wait()
					for _, again := range calls {
						if err := again.call(l.ctx(), l); err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrNoInfo) {
							t.Errorf("%s after it: %v", again.name, err)
						}
					}
					if slices.Contains(l.client.Torrents(), l.Torrent) {
						t.Error("it is among the client's torrents still")
					}
				} else {
					l.AddPeers([]string{l.seed.TCPAddr().String()})
					l.finish()
					reading.Wait()
				}
				l.nothingLeft()
			})
		}
	}
}

func bareMagnet(torrent *meta.Torrent) *meta.Magnet {
	m := torrent.Magnet()
	m.Peers = nil
	return m
}

// A context that has ended, or ends meanwhile, leaves nothing half done.
func TestCallsWithAContextThatEnds(t *testing.T) {
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLife(t, nil)
			l.must(l.Start(l.ctx()))
			l.await(StateSeeding)
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			takes := c.name != "SetLimits" && c.name != "Close"
			if takes {
				if err := c.call(ended, l); !errors.Is(err, context.Canceled) {
					t.Errorf("with a context that has ended: %v", err)
				}
				if s := l.Stats().State; s != StateSeeding {
					t.Errorf("it did something: the torrent is %s", s)
				}
				for _, op := range []string{"rename", "sync"} {
					l.hangAt(op)
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					start := time.Now()
					_ = c.call(ctx, l)
					if d := time.Since(start); d > 5*time.Second {
						t.Errorf("with a disk that hangs at %s, it took %v", op, d)
					}
					cancel()
					l.release()
				}
			}
			if !c.removes {
				l.finish()
			}
			l.nothingLeft()
		})
	}
}

// Many call at once, in any order.
func TestCallsAllAtOnce(t *testing.T) {
	l := newLife(t, func(cfg *Config, _ *meta.Source, _ *TorrentOptions) { cfg.DownLimit = 1 << 20 })
	a, b := l.t.TempDir(), l.t.TempDir()
	var callers sync.WaitGroup
	var n atomic.Int64
	end := time.Now().Add(6 * time.Second)
	for caller := range 8 {
		callers.Go(func() {
			for i := caller; time.Now().Before(end); i++ {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%5+1)*100*time.Millisecond)
				var err error
				switch i % 8 {
				case 0:
					err = l.Start(ctx)
				case 1:
					err = l.Stop(ctx)
				case 2:
					err = l.Recheck(ctx)
				case 3:
					err = l.Select(ctx, "")
				case 4:
					err = l.SetLimits(Limits{Down: int64(i) << 10})
				case 5:
					err = l.Move(ctx, a)
				case 6:
					err = l.Move(ctx, b)
				case 7:
					l.Stats()
					if r, e := l.OpenFile(ctx, 0); e == nil {
						r.Read(make([]byte, 100))
						r.Close()
					}
				}
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("call %d: %v", i%8, err)
				}
				n.Add(1)
			}
		})
	}
	callers.Wait()
	t.Logf("%d calls", n.Load())
	l.must(l.SetLimits(Limits{}))
	l.client.SetLimits(Limits{})
	l.finish()
	l.nothingLeft()
}

// Close may come in the middle of everything.
func TestCloseInTheMiddle(t *testing.T) {
	for range 15 {
		l := newLife(t, nil)
		var callers sync.WaitGroup
		for _, c := range calls {
			callers.Go(func() {
				if err := c.call(l.ctx(), l); err != nil && !errors.Is(err, ErrClosed) {
					t.Errorf("%s: %v", c.name, err)
				}
			})
		}
		l.nothingLeft()
		callers.Wait()
	}
}
