package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/fixture"
	"github.com/causeway-bt/causeway/bench/path"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

const (
	soakTabs = 8
	soakSize = 32 << 20 // of each tab's torrent, unless -size says less: some 20 s at an equal share of the path

	leastSoak  = time.Minute
	mostSlices = 6 // of 5 minutes, in half an hour; shorter ones have fewer, of a minute at least

	soakEvery = 10 * time.Second // the seeder is looked at

	// soakWarm is the part of the first slice in which the seeder's memory grows to what the load takes.
	soakWarm = time.Minute

	// soakEnds is for how long a connection may outlive a browser that was killed: consent
	// expires after 30 s (RFC 7675), and the seeder tells of its peers once a second.
	soakEnds = 60 * time.Second

	// soakHang is for how long a page that runs may get nothing. The longest honest wait is for
	// a retransmission timer that was doubled a few times while the page stood still.
	soakHang = 20 * time.Second
)

var soakPath = path.Config{Rate: pathRate, RTT: pathRTT, Loss: 0.01}

// soakSample is one look at the seeder.
type soakSample struct {
	rss   float64 // RssAnon, bytes
	peers float64 // connections
}

// soakSlice is the life of one browser.
type soakSlice struct {
	samples []soakSample
	sent    int64 // bytes that the seeder uploaded
	took    time.Duration
	pages   soakPages
	ended   time.Duration // from the browser's kill until the seeder had no connections
}

// soaking is a seeder under the load of pages that come, stall and vanish.
type soaking struct {
	b        *bench
	dir      string
	over     *path.Path
	meeting  *meeting
	torrents []*fixture.Torrent
	seeder   *cli.Run
}

// soak has one seeder serve pages for a long time. Each tab has a torrent of its own, so that
// pages get nothing from each other.
func (b *bench) soak(ctx context.Context) error {
	if b.causeway == "" {
		return nil
	}
	s, err := b.newSoaking(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	count := min(b.soaking/leastSoak, mostSlices)
	var done []soakSlice
	for number := 1; number <= int(count); number++ {
		slice, err := s.slice(ctx, number, b.soaking/count)
		if err != nil {
			b.soakTable(done)
			return fmt.Errorf("slice %d: %w", number, err)
		}
		fmt.Fprintf(b.log, "soak slice %d: %v\n", number, slice)
		done = append(done, slice)
	}
	b.soakTable(done)
	took, err := s.fresh(ctx)
	if err != nil {
		return fmt.Errorf("a fresh page after all that: %w", err)
	}
	fmt.Fprintf(b.out, "\nThen a fresh page had all %s in %.1f s.\n", mib(float64(s.torrents[0].Size)), took.Seconds())
	return soakFaults(done)
}

func (b *bench) newSoaking(ctx context.Context) (s *soaking, err error) {
	s = &soaking{b: b}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = b.scratch("soak"); err != nil {
		return s, err
	}
	args := []string{"seed"}
	for i := range soakTabs {
		tor, err := fixture.Make(s.dir, fmt.Sprint("content-", i), []fixture.File{{Size: min(b.size, soakSize)}}, fixture.Options{Seed: uint64(i)})
		if err != nil {
			return s, err
		}
		s.torrents = append(s.torrents, tor)
		args = append(args, tor.Path)
	}
	if s.over, err = path.New(ctx, soakPath); err != nil {
		return s, err
	}
	if s.meeting, err = meet(ctx, s.over); err != nil {
		return s, err
	}
	slots := fmt.Sprint(4 * soakTabs) // pages that vanished keep theirs for half a minute: nobody shall wait for one
	from, _ := ends(s.over)
	s.seeder, err = b.webRun(from, s.meeting.atA, append(args, "--data", s.torrents[0].Dir, "--slots", slots, "--web-slots", slots)...)
	if err != nil {
		return s, err
	}
	for _, tor := range s.torrents {
		if _, err := s.seeder.WaitFor(ctx, "the tracker's reply", func(e cli.Event) bool {
			return e.Event == "tracker" && e.State == "ok" && e.InfoHash == tor.HexHash()
		}); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *soaking) close() {
	if s.seeder != nil {
		s.seeder.Stop()
	}
	if s.meeting != nil {
		s.meeting.Close()
	}
	if s.over != nil {
		s.over.Close()
	}
	os.RemoveAll(s.dir)
}

// seeding returns the seeder's connections and the bytes that it has uploaded, as of a second ago.
func (s *soaking) seeding() (peers int, sent int64) {
	last := map[string]cli.Event{}
	for _, e := range s.seeder.Events() {
		if e.Event == "progress" {
			last[e.InfoHash] = e
		}
	}
	for _, e := range last {
		peers += e.Peers.WebRTC
		sent += e.Uploaded
	}
	return peers, sent
}

// slice has a browser with pages run for that long, kills it, and waits until the seeder has no
// connections.
func (s *soaking) slice(ctx context.Context, number int, length time.Duration) (slice soakSlice, err error) {
	begun := time.Now()
	_, before := s.seeding()
	browser, err := s.open(ctx, number)
	if err != nil {
		return slice, err
	}
	defer browser.Stop()
	freezing, thaw := context.WithCancel(ctx)
	frozen := make(chan error, 1)
	go func() { frozen <- freezeSome(freezing, browser.PID(), uint64(number)) }()
	for end := begun.Add(length); err == nil && time.Now().Before(end); {
		if err = sleep(ctx, min(soakEvery, time.Until(end))); err == nil {
			err = s.look(browser, &slice)
		}
	}
	thaw()
	if err = errors.Join(err, <-frozen); err != nil {
		return slice, err
	}
	browser.Stop() // kills it: nobody says goodbye
	_, after := s.seeding()
	slice.took, slice.sent = time.Since(begun), after-before
	if slice.pages, err = tally(browser.Events.All()); err != nil {
		return slice, err
	}
	slice.ended, err = s.alone(ctx)
	if err != nil {
		return slice, fmt.Errorf("the browser was killed (%v): %w", slice, err)
	}
	return slice, nil
}

// alone waits until the seeder has no connections, and returns how long that took.
func (s *soaking) alone(ctx context.Context) (time.Duration, error) {
	begun := time.Now()
	for {
		if err := sleep(ctx, time.Second); err != nil {
			return 0, err
		}
		took := time.Since(begun)
		peers, _ := s.seeding()
		if peers == 0 {
			return took, nil
		}
		if took > soakEnds {
			return took, fmt.Errorf("%v later the seeder has %d connections still", soakEnds, peers)
		}
	}
}

// look takes a sample of the seeder while a browser runs.
func (s *soaking) look(browser *realpeer.Browser, slice *soakSlice) error {
	select {
	case <-browser.Done():
		return fmt.Errorf("the browser has ended\n%s", browser.Output())
	default:
	}
	rss, err := proc.RssAnon(s.seeder.PID())
	if err != nil {
		return fmt.Errorf("%w\n%s", err, s.seeder.Output())
	}
	peers, _ := s.seeding()
	slice.samples = append(slice.samples, soakSample{float64(rss), float64(peers)})
	return nil
}

// rss returns the median of the seeder's memory after a while, and the peak.
func (s soakSlice) rss(after time.Duration) (middle, peak float64) {
	rss := column(s.samples, func(s soakSample) float64 { return s.rss })
	warm := min(int(after/soakEvery), len(rss)/2)
	return median(rss[warm:]), slices.Max(rss)
}

func (s soakSlice) peers() []float64 {
	return column(s.samples, func(s soakSample) float64 { return s.peers })
}

func (s soakSlice) rate() float64 { return float64(s.sent) / 1e6 / s.took.Seconds() }

func (s soakSlice) String() string {
	rss, peak := s.rss(0)
	return fmt.Sprintf("RssAnon %s, peak %s; %.0f connections, %.0f at most; %.1f MB/s; %v; the last ended %.0f s after the kill",
		mib(rss), mib(peak), median(s.peers()), slices.Max(s.peers()), s.rate(), s.pages, s.ended.Seconds())
}

func (b *bench) soakTable(all []soakSlice) {
	if len(all) == 0 {
		return
	}
	rows := [][]string{{"slice", "RssAnon", "peak", "connections", "most", "MB/s", "pages came", "completed", "stalled", "tabs killed", "longest without data, s", "ended after kill, s"}}
	var sum soakPages
	var sent int64
	for i, s := range all {
		rss, peak := s.rss(0)
		rows = append(rows, []string{
			fmt.Sprint(i + 1), mib(rss), mib(peak), fmt.Sprintf("%.0f", median(s.peers())), fmt.Sprintf("%.0f", slices.Max(s.peers())),
			fmt.Sprintf("%.1f", s.rate()), fmt.Sprint(s.pages.came), fmt.Sprint(s.pages.completed), fmt.Sprint(s.pages.stalled), fmt.Sprint(s.pages.killed()),
			fmt.Sprintf("%.1f", s.pages.longest.Seconds()), fmt.Sprintf("%.0f", s.ended.Seconds()),
		})
		sum.came, sum.completed, sent = sum.came+s.pages.came, sum.completed+s.pages.completed, sent+s.sent
	}
	table(b.out, fmt.Sprintf("Soak: %d tabs at a time through %v for %v, the browser killed after each slice", soakTabs, soakPath, b.soaking), rows)
	first, _ := all[0].rss(soakWarm)
	last, _ := all[len(all)-1].rss(0)
	fmt.Fprintf(b.out, "\n%d pages came, %d completed, %.1f GB went to them. RssAnon, medians: %s in the first slice after its warm-up, %s in the last.\n",
		sum.came, sum.completed, float64(sent)/1e9, mib(first), mib(last))
}

// soakFaults returns which page hung, or nil.
func soakFaults(all []soakSlice) error {
	came, completed := 0, 0
	for i, s := range all {
		if s.pages.longest > soakHang {
			return fmt.Errorf("in slice %d a page that ran got nothing for %.1f s (tab %d): want %v at most", i+1, s.pages.longest.Seconds(), s.pages.tab, soakHang)
		}
		came, completed = came+s.pages.came, completed+s.pages.completed
	}
	if completed == 0 {
		return fmt.Errorf("none of %d pages completed its torrent", came)
	}
	return nil
}
