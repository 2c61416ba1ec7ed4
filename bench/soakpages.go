package main

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

//go:embed soak.html
var soakHTML string

// soakTimes are what a page's life is made of, in milliseconds; ranges are from and to.
var soakTimes = map[string]any{
	"tick": 250, "stalled": 1000, // between two looks at a page; a look that is so late tells of a stall
	"early":      []int{200, 2000},    // the life of who vanishes while it connects
	"life":       []int{5000, 40_000}, // and of the others
	"pause":      []int{0, 3000},      // between two lives
	"untilStall": []int{5000, 60_000},
	"stall":      []int{1000, 8000}, // of the page's main thread
	"wait":       2000,              // who got nothing for so long does not vanish before it gets some
	"giveUp":     60_000,            // or for so long
	"status":     2000,
}

// How often the process of a tab is frozen, and for how long: below the 30 s in which consent
// expires (RFC 7675). One of killOne is killed then: nobody says goodbye for it, as Chromium does
// for a frame that is removed.
const (
	untilFreezeFrom, untilFreezeTo = 5 * time.Second, 15 * time.Second
	freezeFrom, freezeTo           = time.Second, 8 * time.Second
	killOne                        = 2
)

// soakPages are what a browser's pages told.
type soakPages struct {
	opened                   int // tabs, again after their process was killed
	came, completed, stalled int
	longest                  time.Duration // in which a page that was not stalled got nothing
	tab                      int           // whose that was
}

func (p soakPages) String() string {
	return fmt.Sprintf("%d pages came, %d completed, %d stalls, %d tabs killed, %.1f s at most without data (tab %d)",
		p.came, p.completed, p.stalled, p.killed(), p.longest.Seconds(), p.tab)
}

// killed returns how many tabs were opened again.
func (p soakPages) killed() int { return p.opened - soakTabs }

// tally sums up what pages told.
func tally(events []realpeer.PageEvent) (p soakPages, err error) {
	for _, e := range events {
		switch e.Event {
		case "opened":
			p.opened++
		case "came":
			p.came++
		case "complete":
			p.completed++
		case "stalled":
			p.stalled++
		case "error":
			err = errors.Join(err, fmt.Errorf("the page of tab %d: %s", e.Page, e.Message))
		}
		if idle := time.Duration(e.Idle * float64(time.Millisecond)); idle > p.longest {
			p.longest, p.tab = idle, e.Page
		}
	}
	return p, err
}

// open launches a browser whose tabs have pages come and go, at random of that seed, and returns
// when all tabs are there.
func (s *soaking) open(ctx context.Context, seed int) (*realpeer.Browser, error) {
	var magnets []string
	for _, tor := range s.torrents {
		magnets = append(magnets, tor.Magnet())
	}
	options := map[string]any{"seed": seed, "magnets": magnets}
	for name, value := range soakTimes {
		options[name] = value
	}
	script, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	browser, err := s.launch(realpeer.BrowserOptions{Pages: soakTabs, Reopen: true, HTML: strings.Replace(soakHTML, "SOAK", string(script), 1)})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	for tab := range soakTabs {
		if _, err := browser.WaitPage(ctx, tab, "opened"); err != nil {
			browser.Stop()
			return nil, err
		}
	}
	return browser, nil
}

// launch runs Chromium at the far end of the path, with a profile of its own.
func (s *soaking) launch(o realpeer.BrowserOptions) (*realpeer.Browser, error) {
	dir, err := os.MkdirTemp(s.b.work, "browser")
	if err != nil {
		return nil, err
	}
	_, to := ends(s.over)
	o.Browser, o.Trackers, o.ShowAddresses = realpeer.Chromium, []string{s.meeting.atB}, true
	o.Command, o.Listen = to.exec(), to.listen
	return realpeer.LaunchBrowser(dir, o)
}

// freezeSome freezes one tab's process at a time, with its network stack, and kills some, until
// the context ends.
func freezeSome(ctx context.Context, browser int, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 0))
	between := func(from, to time.Duration) time.Duration {
		return from + time.Duration(random.Int64N(int64(to-from)))
	}
	for sleep(ctx, between(untilFreezeFrom, untilFreezeTo)) == nil {
		tabs, err := proc.Descendants(browser, "--type=renderer")
		if err != nil {
			return err
		}
		if len(tabs) == 0 {
			return errors.New("freeze a tab: the browser has no process of one")
		}
		tab := tabs[random.IntN(len(tabs))]
		if proc.Freeze(tab) != nil {
			continue // it has ended
		}
		_ = sleep(ctx, between(freezeFrom, freezeTo))
		if random.IntN(killOne) > 0 {
			_ = proc.Thaw(tab)
		} else if p, err := os.FindProcess(tab); err == nil {
			_ = p.Kill()
		}
	}
	return nil
}

// fresh has a page of the ordinary kind download a torrent, and returns how long that took.
func (s *soaking) fresh(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	tor := s.torrents[0]
	browser, err := s.launch(realpeer.BrowserOptions{Torrent: tor.Path})
	if err != nil {
		return 0, err
	}
	defer browser.Stop()
	complete, err := browser.WaitPage(ctx, 0, "complete")
	if err != nil {
		return 0, err
	}
	content, err := os.ReadFile(tor.FilePath(tor.Dir, 0))
	if err != nil {
		return 0, err
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(content)); complete.SHA256 != sum {
		return 0, fmt.Errorf("it got content with the sum %s, want %s", complete.SHA256, sum)
	}
	return time.Duration(complete.MS * float64(time.Millisecond)), nil
}
