package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

const (
	mountSize   = 512 << 20 // bytes of the file
	mountPieces = 1 << 20
	// ddBlock is how much dd reads at a time.
	ddBlock = "1M"
)

// inNamespace is set in the environment of the part of a session that runs in a network
// namespace of its own.
const inNamespace = "CAUSEWAY_BENCH_NAMESPACE"

// namespaceHost is where the seeder listens in it.
const namespaceHost = "10.77.0.1"

// mount measures a mounted file: finished, beside the file itself, and while it is
// downloaded, beside our own HTTP and btfs. It does so in a network namespace with an
// address of its own: btfs connects to nobody on 127.0.0.1.
func (b *bench) mount(ctx context.Context) error {
	if os.Getenv(inNamespace) == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		inside := exec.CommandContext(ctx, "unshare", "--net", "sh", "-c", `ip link set lo up && ip address add `+namespaceHost+`/24 dev lo && exec "$0" "$@"`,
			self, "-only", "mount", "-runs", strconv.Itoa(b.runs), "-causeway", b.causeway, "-tmp", b.work, "-out", filepath.Join(b.work, "out"))
		inside.Env = append(os.Environ(), inNamespace+"=1", "CAUSEWAY_TEST_HOST="+namespaceHost)
		inside.Stdout, inside.Stderr = b.out, b.log
		return inside.Run()
	}
	dir, err := b.scratch("mount")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tor, err := fixture.Make(dir, "film.mp4", []fixture.File{{Size: mountSize}}, fixture.Options{PieceLength: mountPieces})
	if err != nil {
		return err
	}
	if b.causeway != "" {
		if err := b.mountFinished(ctx, tor); err != nil {
			return err
		}
	}
	return b.mountArriving(ctx, tor)
}

// place is one way to read the file, with its samples.
type place struct {
	name   string
	sample func(context.Context) (rate, cpu float64, err error) // MB/s, processor seconds per 10^9 bytes
	rates  []float64
	cpus   []float64
}

// inTurns takes samples of all places in turns. A first round warms up.
func (b *bench) inTurns(ctx context.Context, what string, places []*place) error {
	for round := range b.runs + 1 {
		for _, p := range places {
			rate, cpu, err := p.sample(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			fmt.Fprintf(b.log, "mount %s round %d %s: %.0f MB/s, %.2f CPU s/GB\n", what, round, p.name, rate, cpu)
			if round > 0 {
				p.rates, p.cpus = append(p.rates, rate), append(p.cpus, cpu)
			}
		}
	}
	return nil
}

// dd reads a file as dd does, and returns how fast.
func dd(ctx context.Context, path string) (rate float64, err error) {
	begun := time.Now()
	out, err := exec.CommandContext(ctx, "dd", "if="+path, "of=/dev/null", "bs="+ddBlock).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("dd of %s: %w\n%s", path, err, out)
	}
	return mountSize / 1e6 / time.Since(begun).Seconds(), nil
}

// mountFinished measures dd of a finished file: the file itself, mounted with and without
// passthrough for the first time since it was mounted, and again.
func (b *bench) mountFinished(ctx context.Context, tor *fixture.Torrent) error {
	own := tor.FilePath(tor.Dir, 0)
	places := []*place{{name: "the file itself", sample: func(ctx context.Context) (float64, float64, error) {
		rate, err := dd(ctx, own)
		return rate, 0, err
	}}}
	for _, way := range []struct {
		name        string
		passthrough bool
		flags       []string
		again       bool
	}{
		{"mounted, passthrough", true, nil, false},
		{"mounted, without", false, []string{"--no-passthrough"}, false},
		{"mounted, without, again", false, []string{"--no-passthrough"}, true},
	} {
		places = append(places, &place{name: way.name, sample: func(ctx context.Context) (float64, float64, error) {
			m, err := b.mountOurs(ctx, tor, tor.Dir, b.work, way.flags...)
			if err != nil {
				return 0, 0, err
			}
			defer m.stop()
			if m.passthrough != way.passthrough {
				return 0, 0, fmt.Errorf("passthrough is %v, want %v (it takes root, and Linux 6.9)", m.passthrough, way.passthrough)
			}
			if err := m.waitWhole(ctx); err != nil {
				return 0, 0, err
			}
			if way.again {
				if _, err := dd(ctx, m.path); err != nil {
					return 0, 0, err
				}
			}
			return costing(m.process, func() (float64, error) { return dd(ctx, m.path) })
		}})
	}
	if err := b.inTurns(ctx, "finished", places); err != nil {
		return err
	}
	rows := [][]string{{"read by dd", "MB/s", "range", "x the file itself", "CPU s/GB"}}
	for _, p := range places {
		rows = append(rows, []string{
			p.name, fmt.Sprintf("%.0f", median(p.rates)), spread(p.rates, "%.0f"),
			fmt.Sprintf("%.2f", median(p.rates)/median(places[0].rates)), fmt.Sprintf("%.3f", median(p.cpus)),
		})
	}
	table(b.out, fmt.Sprintf("A finished file of %d MiB, mounted, median of %d", mountSize>>20, b.runs), rows)
	return nil
}

// costing adds the processor time that a program takes for reading the file.
func costing(process *proc.Process, read func() (float64, error)) (rate, cpu float64, err error) {
	before, err := process.CPU()
	if err != nil {
		return 0, 0, err
	}
	if rate, err = read(); err != nil {
		return 0, 0, err
	}
	after, err := process.CPU()
	return rate, (after - before).Seconds() / (mountSize / 1e9), err
}

// ourMount is a torrent's file that causeway has mounted.
type ourMount struct {
	path        string
	process     *proc.Process
	passthrough bool // its reading is left to the kernel, once it is finished
	stop        func()
}

// mountOurs mounts the torrent with causeway, with the data in dir.
func (b *bench) mountOurs(ctx context.Context, tor *fixture.Torrent, dir, state string, flags ...string) (*ourMount, error) {
	at, err := os.MkdirTemp(b.work, "mnt")
	if err != nil {
		return nil, err
	}
	args := append([]string{"mount", tor.Path, at, "-o", dir, "--state", filepath.Join(state, "state-mount")}, flags...)
	run, err := ours{bin: b.causeway}.run(args...)
	if err != nil {
		_ = os.Remove(at)
		return nil, err
	}
	stop := func() {
		run.Stop() // it unmounts
		_ = os.Remove(at)
	}
	mounted, err := run.WaitEvent(ctx, "mounted")
	if err != nil {
		stop()
		return nil, err
	}
	return &ourMount{filepath.Join(at, tor.Name), run.Process, mounted.Passthrough, stop}, nil
}

// waitWhole waits until all of a mounted file has been verified.
func (m *ourMount) waitWhole(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		completed, err := attribute(m.path, "user.causeway.completed")
		if errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		if err == nil && completed == strconv.Itoa(mountSize) {
			return nil
		}
		select {
		case <-m.process.Done():
			return fmt.Errorf("the program ended\n%s", m.process.Output())
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// mountArriving measures how fast a file is read from one seeder: mounted, by our own HTTP,
// and by btfs, which encrypts its connections and is told the seeder in a magnet link.
func (b *bench) mountArriving(ctx context.Context, tor *fixture.Torrent) error {
	seed, err := libtorrent{work: b.work}.start(ctx, realpeer.Options{Torrent: tor.Path, Dir: tor.Dir, Seed: true, Encryption: realpeer.Prefer, UTP: true})
	if err != nil {
		return err
	}
	defer seed.Stop()
	places := []*place{{name: "btfs", sample: func(ctx context.Context) (float64, float64, error) { return b.btfsOnce(ctx, tor, seed.addr) }}}
	if b.causeway != "" {
		places = append(places,
			&place{name: "ours, HTTP", sample: func(ctx context.Context) (float64, float64, error) { return b.httpOnce(ctx, tor, seed.addr) }},
			&place{name: "ours, mounted", sample: func(ctx context.Context) (float64, float64, error) { return b.mountOnce(ctx, tor, seed.addr) }})
	}
	if err := b.inTurns(ctx, "arriving", places); err != nil {
		return err
	}
	rows := [][]string{{"read while it comes", "MB/s", "range", "x btfs", "CPU s/GB", "range", "x btfs"}}
	for _, p := range places {
		rows = append(rows, []string{
			p.name, fmt.Sprintf("%.0f", median(p.rates)), spread(p.rates, "%.0f"), fmt.Sprintf("%.2f", median(p.rates)/median(places[0].rates)),
			fmt.Sprintf("%.2f", median(p.cpus)), spread(p.cpus, "%.2f"), fmt.Sprintf("%.2f", median(p.cpus)/median(places[0].cpus)),
		})
	}
	table(b.out, fmt.Sprintf("A file of %d MiB from libtorrent, median of %d", mountSize>>20, b.runs), rows)
	return nil
}

// sequentially waits for the first byte of a file, then reads the rest.
func sequentially(open func() (io.ReadCloser, error)) (rate float64, err error) {
	r, err := open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	buffer := make([]byte, 1<<20)
	first, err := r.Read(buffer)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buffer)
	if err == nil && n+int64(first) != mountSize {
		err = fmt.Errorf("read %d bytes, want %d", n+int64(first), mountSize)
	}
	return float64(n) / 1e6 / time.Since(begun).Seconds(), err
}

func (b *bench) mountOnce(ctx context.Context, tor *fixture.Torrent, peer string) (rate, cpu float64, err error) {
	dir, err := os.MkdirTemp(b.work, "data")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	m, err := b.mountOurs(ctx, tor, dir, dir, "--peer", peer)
	if err != nil {
		return 0, 0, err
	}
	defer m.stop()
	return costing(m.process, func() (float64, error) {
		return sequentially(func() (io.ReadCloser, error) { return os.Open(m.path) })
	})
}

func (b *bench) httpOnce(ctx context.Context, tor *fixture.Torrent, peer string) (rate, cpu float64, err error) {
	dir, err := os.MkdirTemp(b.work, "data")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	port, err := realpeer.FreePort()
	if err != nil {
		return 0, 0, err
	}
	s := b.causewayStreamer()
	process, err := s.start(tor, filepath.Join(dir, "data"), dir, port, []string{peer})
	if err != nil {
		return 0, 0, err
	}
	defer process.Stop()
	return costing(process, func() (float64, error) {
		return sequentially(func() (io.ReadCloser, error) {
			response, err := firstAnswer(ctx, s.url(tor, port), process)
			if err != nil {
				return nil, fmt.Errorf("%w\n%s", err, process.Output())
			}
			return response.Body, nil
		})
	})
}

// btfsOnce mounts by btfs, which shows the file once it has the metadata.
func (b *bench) btfsOnce(ctx context.Context, tor *fixture.Torrent, peer string) (rate, cpu float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	dir, err := os.MkdirTemp(b.work, "btfs")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	at := filepath.Join(dir, "mnt")
	if err := os.Mkdir(at, 0o755); err != nil {
		return 0, 0, err
	}
	process, err := proc.Start(proc.Spec{Path: "btfs", Args: []string{"-f", "--data-directory=" + dir, tor.Magnet(peer), at}, Env: []string{"HOME=" + dir}})
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = exec.Command("umount", "-l", at).Run() // it may never have been mounted
		process.Stop()
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := os.Stat(filepath.Join(at, tor.Name))
		if err == nil && status.Size() == mountSize {
			break
		}
		select {
		case <-tick.C:
		case <-process.Done():
			return 0, 0, errors.New("btfs ended\n" + process.Output())
		case <-ctx.Done():
			return 0, 0, fmt.Errorf("btfs: %w\n%s", ctx.Err(), process.Output())
		}
	}
	return costing(process, func() (float64, error) {
		return sequentially(func() (io.ReadCloser, error) { return os.Open(filepath.Join(at, tor.Name)) })
	})
}
