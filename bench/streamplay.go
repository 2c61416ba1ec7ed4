package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/causeway-bt/causeway/bench/proc"
)

// What a player asks for, in bytes, as the targets say it.
const (
	playHead = 64 << 10
	playTail = 300_000
	playSeek = 1_000_000
)

// plays is what one playback took: seconds, in the order of moments.
type plays [8]float64

// moments are the rows of the table. The targets are what is aimed at with one
// seeder, in seconds.
var moments = [len(plays{})]struct {
	name   string
	target float64
}{
	{"start of the program to the first 64 KiB", 0.7},
	{"the last 300 KB", 0.45},
	{"seek to 25 %: first byte", 0.35},
	{"seek to 25 %: 1 MB", 0.85},
	{"seek to 50 %: first byte", 0.35},
	{"seek to 50 %: 1 MB", 0.85},
	{"seek to 75 %: first byte", 0.35},
	{"seek to 75 %: 1 MB", 0.85},
}

// severalTimes is how much longer it may take with several seeders, one of them stalled.
const severalTimes = 1.5

// errNoAnswer says that a program did not give what was asked for in time.
var errNoAnswer = errors.New("no answer")

// answerTimeout bounds one request; the slowest should take a few seconds.
const answerTimeout = 30 * time.Second

// play asks as a player does: for the head as soon as anybody answers, for the end,
// and for three places in between, each with a connection of its own that it drops
// when it has had enough.
func play(ctx context.Context, url string, process *proc.Process, begun time.Time, size int64) (plays, error) {
	var p plays
	head, err := firstAnswer(ctx, url, process)
	if err != nil {
		return p, err
	}
	_, err = io.CopyN(io.Discard, head.Body, playHead)
	p[0] = time.Since(begun).Seconds()
	head.Body.Close()
	if err != nil {
		return p, fmt.Errorf("read the first %d bytes: %w: %w", playHead, errNoAnswer, err)
	}
	if _, p[1], err = fetch(ctx, url, fmt.Sprintf("bytes=%d-", size-playTail), playTail); err != nil {
		return p, err
	}
	for i, quarter := range []int64{1, 2, 3} {
		at := fmt.Sprintf("bytes=%d-", size/4*quarter)
		if p[2+2*i], p[3+2*i], err = fetch(ctx, url, at, playSeek); err != nil {
			return p, err
		}
	}
	return p, nil
}

// fetch reads n bytes of a range, and returns how many seconds it took until the
// first and until all of them had come.
func fetch(ctx context.Context, url, byteRange string, n int64) (first, all float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	begun := time.Now()
	response, err := get(ctx, url, byteRange)
	if err != nil {
		return 0, 0, fmt.Errorf("get %s of %s: %w: %w", byteRange, url, errNoAnswer, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusPartialContent {
		return 0, 0, fmt.Errorf("get %s of %s: want 206, got %s", byteRange, url, response.Status)
	}
	if _, err := io.CopyN(io.Discard, response.Body, 1); err != nil {
		return 0, 0, fmt.Errorf("read the first byte at %s: %w: %w", byteRange, errNoAnswer, err)
	}
	first = time.Since(begun).Seconds()
	if _, err := io.CopyN(io.Discard, response.Body, n-1); err != nil {
		return 0, 0, fmt.Errorf("read %d bytes at %s: %w: %w", n, byteRange, errNoAnswer, err)
	}
	return first, time.Since(begun).Seconds(), nil
}

// get opens a connection for one request: players do so for each seek.
func get(ctx context.Context, url, byteRange string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Range", byteRange)
	request.Close = true
	return http.DefaultClient.Do(request)
}

// firstAnswer asks for the beginning until the program listens and knows the file.
func firstAnswer(ctx context.Context, url string, process *proc.Process) (*http.Response, error) {
	const every = 5 * time.Millisecond
	deadline := time.Now().Add(answerTimeout)
	for {
		response, err := get(ctx, url, "bytes=0-")
		if err == nil && response.StatusCode == http.StatusPartialContent {
			return response, nil
		}
		if err == nil {
			response.Body.Close()
			err = errors.New(response.Status)
		}
		select {
		case <-process.Done():
			return nil, fmt.Errorf("get %s: the program ended: %w", url, err)
		default:
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("get %s for %v: %w: %w", url, answerTimeout, errNoAnswer, err)
		}
		if err := sleep(ctx, every); err != nil {
			return nil, err
		}
	}
}

// playTables prints what one seeder gave beside the targets, and what several did
// beside that.
func (b *bench) playTables(settings []setting, results [][]plays) {
	header := []string{"seconds until", "target"}
	rows := make([][]string, len(moments))
	base := map[string]plays{} // by program: medians with one seeder
	for i, s := range settings {
		medians, ranges := summary(results[i])
		single := s.swarm == oneSeeder
		if single {
			base[s.streamer.name] = medians
			header = append(header, s.streamer.name, "range")
		} else {
			header = append(header, s.streamer.name+", "+s.swarm.name, "x one")
		}
		for m := range moments {
			if i == 0 {
				rows[m] = []string{moments[m].name, fmt.Sprintf("%.2f", moments[m].target)}
			}
			second := ranges[m]
			if !single {
				second = fmt.Sprintf("%.2f", medians[m]/base[s.streamer.name][m])
			}
			if len(results[i]) == 0 {
				rows[m] = append(rows[m], "no answer", "")
				continue
			}
			rows[m] = append(rows[m], fmt.Sprintf("%.2f", medians[m]), second)
		}
	}
	if len(settings) == 0 {
		return
	}
	split := 2 // columns of one seeder and before
	for _, s := range settings {
		if s.swarm == oneSeeder {
			split += 2
		}
	}
	one, several := [][]string{header[:split]}, [][]string{append([]string{header[0], "target"}, header[split:]...)}
	for m, r := range rows {
		one = append(one, r[:split])
		target := fmt.Sprintf("%.2f", severalTimes*moments[m].target)
		several = append(several, append([]string{r[0], target}, r[split:]...))
	}
	title := fmt.Sprintf("Streaming %.0f MB in pieces of %d KiB from ", streamSize/1e6, streamPieces>>10)
	table(b.out, title+fmt.Sprintf("%s, median of %d", oneSeeder.name, b.runs), one)
	table(b.out, title+fmt.Sprintf("four seeders, median of %d", b.runs), several)
}

// summary returns the median and the range of each moment.
func summary(all []plays) (medians plays, ranges [len(plays{})]string) {
	for m := range moments {
		var v []float64
		for _, p := range all {
			v = append(v, p[m])
		}
		medians[m], ranges[m] = median(v), spread(v, "%.2f")
	}
	return medians, ranges
}
