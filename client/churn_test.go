package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
)

// The churn: torrents are added, stopped, started, checked and removed at random, while a
// tenth of them move data. CAUSEWAY_CHURN is for how long (default churnTime), as in 5m.
const (
	churnTime     = 12 * time.Second
	churnTorrents = 200
	churnMoving   = churnTorrents / 10
	churnWorkers  = 8
	// churnPatience is how long a call may take at most. The machine may be busy.
	churnPatience = 30 * time.Second
)

// churnDir is the variable in which the process to be killed finds its folder.
const churnDir = "CAUSEWAY_CHURN_DIR"

// A process with 200 torrents that come and go is not stuck and leaks nothing; killed in the
// middle of it, it leaves a state that is true.
func TestChurnAndKill(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute: not with -short")
	}
	t.Parallel()
	d := churnTime
	if s := os.Getenv("CAUSEWAY_CHURN"); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 { // what a moment has saved is up to chance: often one torrent's pieces, now and then none
		if churnAndKill(t, d) > 0 {
			return
		}
	}
	t.Error("nothing was there to be checked")
}

// churnAndKill returns how many pieces a new client relied on.
func churnAndKill(t *testing.T, d time.Duration) (pieces int) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestChurnInAProcess$", "-test.v", "-test.timeout", "60m")
	cmd.Env = append(os.Environ(), churnDir+"="+dir, "CAUSEWAY_CHURN="+d.String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var said strings.Builder
	going := false
	for lines := bufio.NewScanner(io.TeeReader(out, &said)); lines.Scan(); {
		if going = strings.Contains(lines.Text(), "churning on"); going {
			break
		}
	}
	if !going {
		t.Fatalf("it ended:\n%s", said.String())
	}
	t.Log(said.String())
	go io.Copy(io.Discard, out)
	time.Sleep(time.Duration(1+rand.Float64()*2) * time.Second) // at any moment
	cmd.Process.Kill()
	cmd.Wait()
	return trueAfterKill(t, dir)
}

// trueAfterKill checks that all which a new client relies on is right, and counts the pieces.
func trueAfterKill(t *testing.T, dir string) (pieces int) {
	cfg := plain(t)
	cfg.StateDir = filepath.Join(dir, "state")
	c := newClient(t, cfg)
	entries, err := c.store.List()
	if err != nil {
		t.Fatal(err)
	}
	some := 0
	for i := range churnTorrents {
		torrent, data := churnTorrent(i)
		out := filepath.Join(dir, "out", fmt.Sprint(i))
		again := add(t, c, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: out})
		until(t, churnPatience, "live", func() bool {
			s := again.Stats().State
			return s == StateDownloading || s == StateSeeding
		})
		verified := again.content.Load().Verified()
		if verified.Count() > 0 {
			some++
		}
		file, _ := os.ReadFile(filepath.Join(out, torrent.Info.Name))
		for p := range verified.Len() {
			if !verified.Has(p) {
				continue
			}
			pieces++
			from := int64(p) * torrent.Info.PieceLength
			to := from + torrent.Info.PieceSize(p)
			if int64(len(file)) < to || !bytes.Equal(file[from:to], data[from:to]) {
				t.Errorf("torrent %d: piece %d counts as verified, and is wrong", i, p)
			}
		}
	}
	t.Logf("%d torrents are remembered; %d pieces of %d torrents were relied on and are right", len(entries), pieces, some)
	return pieces
}

// churnTorrent returns one of the torrents, and its data; the first ones are larger.
func churnTorrent(i int) (*meta.Torrent, []byte) {
	const pieceLength = 32 << 10
	size := 40_000 + i
	if i < churnMoving {
		size = 1<<20 + i
	}
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(data)
	var hashes []byte
	for at := 0; at < size; at += pieceLength {
		sum := sha1.Sum(data[at:min(at+pieceLength, size)])
		hashes = append(hashes, sum[:]...)
	}
	info := fmt.Sprintf("d6:lengthi%de4:name8:data.bin12:piece lengthi%de6:pieces%d:%se", size, pieceLength, len(hashes), hashes)
	torrent, err := meta.ParseTorrent([]byte("d4:info" + info + "e"))
	if err != nil {
		panic(err)
	}
	return torrent, data
}

// TestChurnInAProcess is the process that TestChurnAndKill starts, and kills.
func TestChurnInAProcess(t *testing.T) {
	dir := os.Getenv(churnDir)
	if dir == "" {
		t.Skip("it is for TestChurnAndKill")
	}
	d, err := time.ParseDuration(os.Getenv("CAUSEWAY_CHURN"))
	if err != nil {
		t.Fatal(err)
	}
	seedCfg := plain(t)
	seedCfg.UpLimit = 8 << 20 // so that downloads take a while
	seeder := newClient(t, seedCfg)
	for i := range churnMoving {
		torrent, data := churnTorrent(i)
		from := filepath.Join(dir, "seed", fmt.Sprint(i))
		if err := errors.Join(os.MkdirAll(from, 0o777), os.WriteFile(filepath.Join(from, "data.bin"), data, 0o666)); err != nil {
			t.Fatal(err)
		}
		add(t, seeder, &meta.Source{Torrent: torrent}, TorrentOptions{Dir: from, Trusted: true})
	}
	cfg := plain(t)
	cfg.StateDir = filepath.Join(dir, "state")
	c := newClient(t, cfg)
	churn := &churn{t: t, dir: dir, client: c, seed: seeder.TCPAddr().String()}

	goroutines, files := runtime.NumGoroutine(), descriptors()
	churn.run(d)
	churn.all((*churned).remove)
	if n := len(c.Torrents()); n != 0 {
		t.Errorf("%d torrents are left", n)
	}
	if n := c.memory.Reserved(); n != 0 {
		t.Errorf("%d bytes of memory are reserved", n)
	}
	if n := c.conns.Len(); n != 0 {
		t.Errorf("%d places of connections are taken", n)
	}
	if n := c.early.Taken(); n != 0 {
		t.Errorf("%d bytes of the early budget are taken", n)
	}
	// The seeder notices in its own time.
	until(t, churnPatience, "all goroutines at their end", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	if n := runtime.NumGoroutine(); n > goroutines+2 {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines of %d are left\n%s", n, goroutines, buf[:runtime.Stack(buf, true)])
	}
	until(t, churnPatience, "all descriptors closed", func() bool { return descriptors() <= files+openFiles/10 })
	for i := range churn.torrents {
		left, _ := os.ReadDir(filepath.Join(dir, "out", fmt.Sprint(i)))
		if len(left) > 0 {
			t.Errorf("torrent %d left %v", i, left)
		}
	}
	if entries, err := c.store.List(); err != nil || len(entries) > 0 {
		t.Errorf("%d torrents are remembered, %v", len(entries), err)
	}
	fmt.Printf("%d calls, the longest %v; %.1f MiB came; %d goroutines, %d descriptors at the end\n", churn.calls.Load(),
		time.Duration(churn.longest.Load()), float64(churn.moved.Load())/(1<<20), runtime.NumGoroutine(), descriptors())
	if t.Failed() {
		return
	}
	churn.keep = true
	churn.run(2 * time.Second)
	fmt.Println("churning on")
	churn.run(time.Hour) // until it is killed
}

// descriptors returns how many the process has open.
func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

// churn is a client and all that happens to it.
type churn struct {
	t        *testing.T
	dir      string
	client   *Client
	seed     string
	torrents [churnTorrents]churned
	keep     bool // data, when torrents are removed

	calls, longest, moved atomic.Int64
}

// churned is one torrent that comes and goes; one worker has it at a time.
type churned struct {
	of *churn
	i  int
	mu sync.Mutex
	*Torrent
}

// run lets workers do things for a while.
func (c *churn) run(d time.Duration) {
	end := time.Now().Add(d)
	var workers sync.WaitGroup
	for range churnWorkers {
		workers.Go(func() {
			for time.Now().Before(end) && !c.t.Failed() {
				i := rand.IntN(churnTorrents)
				if rand.IntN(2) == 0 {
					i %= churnMoving // those that move data are called as often as all others
				}
				c.with(i, (*churned).something)
			}
		})
	}
	workers.Wait()
}

// all does something with all torrents.
func (c *churn) all(f func(*churned)) {
	var workers sync.WaitGroup
	next := atomic.Int64{}
	for range churnWorkers {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < churnTorrents; i = next.Add(1) - 1 {
				c.with(int(i), f)
			}
		})
	}
	workers.Wait()
}

func (c *churn) with(i int, f func(*churned)) {
	one := &c.torrents[i]
	one.mu.Lock()
	defer one.mu.Unlock()
	one.of, one.i = c, i
	f(one)
}

// call times what is done.
func (o *churned) call(what string, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), churnPatience)
	defer cancel()
	start := time.Now()
	err := f(ctx)
	took := time.Since(start)
	o.of.calls.Add(1)
	for before := o.of.longest.Load(); int64(took) > before && !o.of.longest.CompareAndSwap(before, int64(took)); {
		before = o.of.longest.Load()
	}
	if err != nil || took > churnPatience {
		buf := make([]byte, 1<<20)
		o.of.t.Errorf("torrent %d: %s took %v: %v\n%s", o.i, what, took, err, buf[:runtime.Stack(buf, true)])
	}
}

func (o *churned) remove() {
	if o.Torrent == nil {
		return
	}
	o.of.moved.Add(o.Stats().Downloaded)
	o.call("Remove", func(ctx context.Context) error { return o.Remove(ctx, !o.of.keep || rand.IntN(2) == 0) })
	o.Torrent = nil
}

func (o *churned) add() {
	torrent, _ := churnTorrent(o.i)
	opts := TorrentOptions{Dir: filepath.Join(o.of.dir, "out", fmt.Sprint(o.i)), Stopped: rand.IntN(3) == 0}
	if o.i < churnMoving {
		opts.Peers = []string{o.of.seed}
	}
	src := &meta.Source{Torrent: torrent}
	if rand.IntN(3) == 0 {
		src = &meta.Source{Magnet: torrent.Magnet()}
	}
	o.call("Add", func(context.Context) (err error) {
		o.Torrent, err = o.of.client.Add(src, opts)
		return err
	})
}

func (o *churned) something() {
	if o.Torrent == nil {
		o.add()
		return
	}
	switch rand.IntN(9) {
	case 0:
		o.remove()
	case 1:
		o.call("Stop", o.Stop)
	case 2, 3:
		o.call("Start", o.Start)
	case 4:
		if o.Info() != nil {
			o.call("Recheck", o.Recheck)
		}
	case 5:
		if o.Info() != nil {
			o.call("Select", func(ctx context.Context) error { return o.Select(ctx, "0") })
		}
	case 6:
		o.call("SetLimits", func(context.Context) error { return o.SetLimits(Limits{Down: rand.Int64N(4) << 19}) })
	case 7:
		o.Stats()
	case 8:
		select {
		case <-o.Complete():
			o.remove() // and again
		default:
		}
	}
}
