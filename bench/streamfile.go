package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// readings is how often a finished file is read for one sample: processor time comes
// in hundredths of a second, of which one reading takes a few.
const readings = 100

// server is a running program that serves the film, all of which it has.
type server struct {
	*proc.Process
	name, url string
}

// serving is what it cost to send a finished file.
type serving struct {
	rate float64 // MB/s
	cpu  float64 // processor seconds of the server per 10^9 bytes
}

// streamFinished measures how a file that is all there is sent, beside Go's own server.
func (b *bench) streamFinished(ctx context.Context, tor *fixture.Torrent) error {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	plain, err := b.fileServer(ctx, tor)
	if err != nil {
		return err
	}
	defer plain.Stop()
	servers := []*server{plain}
	if b.causeway != "" {
		ours, err := b.finishedStream(ctx, tor)
		if err != nil {
			return err
		}
		defer ours.Stop()
		servers = append(servers, ours)
	}
	results := make([][]serving, len(servers))
	for round := range b.runs + 1 {
		for i, s := range servers {
			sample, err := s.measure(ctx, tor.Size)
			if err != nil {
				return fmt.Errorf("%s: %w\n%s", s.name, err, s.Output())
			}
			fmt.Fprintf(b.log, "finished round %d %s: %.0f MB/s, %.3f CPU s/GB\n", round, s.name, sample.rate, sample.cpu)
			if round > 0 {
				results[i] = append(results[i], sample)
			}
		}
	}
	rates := func(i int) []float64 { return column(results[i], func(s serving) float64 { return s.rate }) }
	cpu := func(i int) []float64 { return column(results[i], func(s serving) float64 { return s.cpu }) }
	rows := [][]string{{"server", "MB/s", "range", "x FileServer", "CPU s/GB", "range", "x FileServer"}}
	for i, s := range servers {
		rows = append(rows, []string{
			s.name,
			fmt.Sprintf("%.0f", median(rates(i))), spread(rates(i), "%.0f"), fmt.Sprintf("%.2f", median(rates(i))/median(rates(0))),
			fmt.Sprintf("%.3f", median(cpu(i))), spread(cpu(i), "%.3f"), fmt.Sprintf("%.2f", median(cpu(i))/median(cpu(0))),
		})
	}
	table(b.out, fmt.Sprintf("A finished file of %.0f MB over HTTP, median of %d", streamSize/1e6, b.runs), rows)
	return nil
}

// fileServer serves the film with http.FileServer, in a process of its own.
func (b *bench) fileServer(ctx context.Context, tor *fixture.Torrent) (*server, error) {
	path := filepath.Join(b.work, "fileserver")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "./bench/fileserver").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build fileserver: %w\n%s", err, out)
	}
	listening := make(chan string, 1)
	p, err := proc.Start(proc.Spec{Path: path, Args: []string{tor.Dir}, OnLine: func(line []byte) {
		select {
		case listening <- string(line):
		default: // it prints one line only
		}
	}})
	if err != nil {
		return nil, err
	}
	select {
	case address := <-listening:
		return &server{p, "http.FileServer", "http://" + address + "/" + tor.Name}, nil
	case <-p.Done():
		return nil, fmt.Errorf("fileserver ended before it listened:\n%s", p.Output())
	case <-ctx.Done():
		p.Kill()
		return nil, ctx.Err()
	}
}

// finishedStream is causeway with all of the film, which it has verified.
func (b *bench) finishedStream(ctx context.Context, tor *fixture.Torrent) (*server, error) {
	port, err := realpeer.FreePort()
	if err != nil {
		return nil, err
	}
	ours := b.causewayStreamer()
	p, err := ours.start(tor, tor.Dir, b.work, port, nil)
	if err != nil {
		return nil, err
	}
	s := &server{p, ours.name, ours.url(tor, port)}
	response, err := firstAnswer(ctx, s.url, p)
	if err != nil {
		p.Kill()
		return nil, err
	}
	response.Body.Close()
	return s, nil
}

// measure reads the file once so that it has been verified, and then as often as
// makes a sample.
func (s *server) measure(ctx context.Context, size int64) (serving, error) {
	if err := s.read(ctx, size); err != nil {
		return serving{}, err
	}
	before, err := s.CPU()
	if err != nil {
		return serving{}, err
	}
	begun := time.Now()
	for range readings {
		if err := s.read(ctx, size); err != nil {
			return serving{}, err
		}
	}
	took := time.Since(begun)
	after, err := s.CPU()
	if err != nil {
		return serving{}, err
	}
	total := float64(size * readings)
	return serving{rate: total / 1e6 / took.Seconds(), cpu: (after - before).Seconds() / (total / 1e9)}, nil
}

// read gets all of the file. Its buffer is large, so that the reader is not what is
// measured.
func (s *server) read(ctx context.Context, size int64) error {
	response, err := get(ctx, s.url, "bytes=0-")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("get %s: want 206, got %s", s.url, response.Status)
	}
	const buffer = 256 << 10
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, response.Body, make([]byte, buffer))
	if err == nil && n != size {
		err = fmt.Errorf("got %d bytes of %s, want %d", n, s.url, size)
	}
	return err
}
