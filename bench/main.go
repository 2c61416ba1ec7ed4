// Command bench measures causeway beside libtorrent and prints Markdown tables:
//
//	go run ./bench -causeway bin/causeway            # everything but the soak
//	go run ./bench -only transfer -runs 5 -size 2G   # one of the sections
//	go run ./bench -only paths -rows loss-0.5 -runs 3 -pairs page,native # some of its rows; as root
//
// Both programs are measured in the same session, in turns, so that whatever else
// the machine does hits both alike; the first round warms up and is not counted;
// what is printed is the median. Content lies on tmpfs: the disk is not the subject.
// Linux only, since it reads /proc. See CONTRIBUTING.md for how to read the tables.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bench is one session: what to measure with, and where the tables go.
type bench struct {
	causeway string // path of the program; empty: measure libtorrent alone
	work     string // scratch folder on tmpfs
	runs     int
	size     int64 // bytes of the transfer
	pairs    []string
	rows     []string      // of utp and paths; none: all
	duration time.Duration // of the storm
	soaking  time.Duration // of the soak
	log      io.Writer
	out      io.Writer

	trackerLoad string // path of the load program
}

// sections in the order in which they run.
var sections = []section{
	{"transfer", (*bench).transfer},
	{"link", (*bench).link},
	{"idle", (*bench).idle},
	{"restart", (*bench).restart},
	{"page", (*bench).page},
	{"native", (*bench).native},
	{"crowd", (*bench).crowd},
	{"stream", (*bench).stream},
	{"finished", (*bench).finished},
	{"mount", (*bench).mount},
	{"limit", (*bench).limit},
	{"storm", (*bench).storm},
	{"tracker", (*bench).tracker},
	{"utp", (*bench).utp},
	{"paths", (*bench).paths},
	{"soak", (*bench).soak},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	b := &bench{log: os.Stderr}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	var only, size, tmp, pairs, rows string
	flags.StringVar(&b.causeway, "causeway", "bin/causeway", "the program to measure")
	flags.StringVar(&only, "only", "", "sections, by commas: transfer, link, idle, restart, page, native, crowd (these three: web), stream, finished, mount, limit, storm, tracker, utp, paths, soak. Default all but soak")
	flags.StringVar(&pairs, "pairs", "", "pairs of the transfer, by commas, as in ours-lt (seeder-leecher), or ours for the page; lt-lt and node always. Of paths: page, node, native, tcp. Default all")
	flags.StringVar(&rows, "rows", "", "rows of utp and paths, by commas; default all. utp has "+
		strings.Join(sectionRows["utp"], ", ")+"; paths has "+strings.Join(sectionRows["paths"], ", "))
	flags.IntVar(&b.runs, "runs", 5, "measured runs, after one for warming up")
	flags.StringVar(&size, "size", "2G", "size of the transfer, in bytes with K, M or G (1024)")
	flags.DurationVar(&b.duration, "storm", 5*time.Minute, "how long the storm lasts")
	flags.DurationVar(&b.soaking, "soak", 30*time.Minute, "how long the soak lasts, a minute at least")
	flags.StringVar(&tmp, "tmp", "/dev/shm", "tmpfs for the content; wants three times the size")
	out := flags.String("out", filepath.Join("bench", "out"), "folder to keep the tables in")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if b.size, err = parseSize(size); err != nil {
		return err
	}
	if pairs != "" {
		b.pairs = strings.Split(pairs, ",")
	}
	if b.soaking < leastSoak {
		return fmt.Errorf("-soak %v: want %v at least", b.soaking, leastSoak)
	}
	if rows != "" {
		b.rows = strings.Split(rows, ",")
	}
	if err := checkRows(b.rows); err != nil {
		return err
	}
	chosen, skipped, err := choose(only, os.Getuid() == 0)
	if err != nil {
		return err
	}
	if len(skipped) > 0 {
		fmt.Fprintf(b.log, "skipped %s, which need root\n", strings.Join(skipped, ", "))
	}
	if _, err := os.Stat(b.causeway); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(b.log, "no program at %s (make build): measuring libtorrent alone\n", b.causeway)
		b.causeway = ""
	}
	if b.work, err = os.MkdirTemp(tmp, "causeway-bench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.work)

	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(*out, time.Now().UTC().Format("2006-01-02T150405")+".md"))
	if err != nil {
		return err
	}
	defer file.Close()
	b.out = io.MultiWriter(os.Stdout, file)

	if os.Getenv(inNamespace) == "" {
		fmt.Fprintf(b.out, "Measured on %s.\n", machine())
	}
	for _, s := range chosen {
		if err := s.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return file.Close()
}

func parseSize(s string) (int64, error) {
	shift := map[byte]int{'K': 10, 'M': 20, 'G': 30}[s[max(0, len(s)-1)]]
	digits := s
	if shift > 0 {
		digits = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("size %q: want a number of bytes, as in 2G, 64M or 4096", s)
	}
	return n << shift, nil
}

// scratch makes a folder of that name in the work folder.
func (b *bench) scratch(name string) (string, error) {
	dir := filepath.Join(b.work, name)
	return dir, os.MkdirAll(dir, 0o755)
}
