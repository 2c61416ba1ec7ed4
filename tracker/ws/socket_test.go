package ws

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTrackerComesBack(t *testing.T) {
	for _, outage := range []time.Duration{3 * time.Second, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			tracker := &fakeTracker{t: t}
			m := tracker.manager()
			defer closeManager(t, m)
			torrents := make([]*fakeTorrent, 50)
			for i := range torrents {
				torrents[i] = newTorrent(string(rune('A' + i)))
				add(t, m, fakeURL, torrents[i])
			}
			tracker.take()
			tracker.push(reply(torrents[0].hash, 1800))
			synctest.Wait()
			tracker.setDown(true)
			time.Sleep(outage)
			for _, torrent := range torrents {
				if torrent.last().Err == nil {
					t.Fatal("a torrent was not told that the tracker is gone")
				}
			}
			tracker.take()
			tracker.setDown(false)
			back := time.Now()
			time.Sleep(5 * time.Second)
			seen := map[ID]bool{}
			stopped := map[ID]bool{}
			for _, r := range tracker.take() {
				if r.Event == eventStopped && !stopped[r.InfoHash] && !seen[r.InfoHash] {
					stopped[r.InfoHash] = true // for the connection before
					continue
				}
				if r.Event != eventStarted || seen[r.InfoHash] || !stopped[r.InfoHash] {
					t.Fatalf("announced %q after the outage, or twice", r.Event)
				}
				seen[r.InfoHash] = true
				if late := r.at.Sub(back); late > 5*time.Second {
					t.Errorf("announced %v after the tracker was back", late)
				}
			}
			if len(seen) != len(torrents) {
				t.Errorf("%d of %d torrents announced within 5 s after %v", len(seen), len(torrents), outage)
			}
		})
	}
}

// gaps returns the times between dials.
func (f *fakeTracker) gaps() []time.Duration {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	var gaps []time.Duration
	for i := 1; i < len(f.dials); i++ {
		gaps = append(gaps, f.dials[i].Sub(f.dials[i-1]))
	}
	return gaps
}

// checkGaps wants the documented waits, less up to a fifth.
func checkGaps(t *testing.T, gaps []time.Duration, waits ...time.Duration) {
	t.Helper()
	for i, gap := range gaps {
		if wait := waits[min(i, len(waits)-1)]; gap > wait || gap < wait*4/5 {
			t.Errorf("attempt %d after %v, want %v less up to a fifth", i+1, gap, wait)
		}
	}
}

func TestWaitsGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trackers := [2]*fakeTracker{{t: t, down: true}, {t: t, down: true}}
		torrent := newTorrent("torrent")
		for _, tracker := range trackers {
			m := tracker.manager()
			defer closeManager(t, m)
			add(t, m, fakeURL, torrent)
		}
		time.Sleep(10 * time.Minute)
		first, second := trackers[0].gaps(), trackers[1].gaps()
		for _, gaps := range [][]time.Duration{first, second} {
			checkGaps(t, gaps, 1*time.Second, 2*time.Second, 4*time.Second, 8*time.Second,
				16*time.Second, 32*time.Second, time.Minute)
			if len(gaps) < 12 {
				t.Errorf("%d attempts in ten minutes", len(gaps))
			}
		}
		time.Sleep(24 * time.Hour)
		checkGrowth(t, trackers[0].gaps())
		for i := range min(len(first), len(second)) {
			if first[i] == second[i] {
				t.Errorf("both clients waited %v before attempt %d", first[i], i+1)
			}
		}
		if n := len(torrent.statuses); n != len(trackers) {
			t.Errorf("told %d times that %d trackers cannot be reached", n, len(trackers))
		}
	})
}

func TestWaitsStayShortForTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker, torrent := announced(t)
		tracker.push(reply(torrent.hash, 1800))
		synctest.Wait()
		tracker.setDown(true)
		time.Sleep(9 * time.Minute)
		recent := tracker.gaps()
		checkGaps(t, recent, 1*time.Second, 2*time.Second, 3*time.Second)
		time.Sleep(24 * time.Hour)
		checkGrowth(t, tracker.gaps())
	})
}

// checkGrowth wants waits that doubled from one minute to an hour, in a day.
func checkGrowth(t *testing.T, gaps []time.Duration) {
	t.Helper()
	i := slices.IndexFunc(gaps, func(gap time.Duration) bool { return gap > maxFirstWait })
	if i < 0 {
		t.Fatal("no wait of more than a minute in a day")
	}
	checkGaps(t, gaps[i:], 2*time.Minute, 4*time.Minute, 8*time.Minute, 16*time.Minute, 32*time.Minute, time.Hour)
	if n := len(gaps) - i; n > 35 {
		t.Errorf("%d attempts in a day", n)
	}
}

func TestConnectionsThatAreDroppedAtOnceDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker, torrent := announced(t)
		dialled := make(chan struct{}, 1)
		tracker.mu.Lock()
		tracker.dialled = dialled
		tracker.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { // drops each connection after a reply
			defer close(done)
			for ctx.Err() == nil {
				tracker.push(reply(torrent.hash, 1800))
				synctest.Wait()
				tracker.setDown(true)
				tracker.setDown(false)
				select {
				case <-dialled:
				case <-ctx.Done():
				}
			}
		}()
		time.Sleep(6 * time.Hour)
		cancel()
		<-done
		checkGrowth(t, tracker.gaps())
	})
}

func TestAddedTorrentDoesNotWaitAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := &fakeTracker{t: t, down: true}
		m := tracker.manager()
		defer closeManager(t, m)
		add(t, m, fakeURL, newTorrent("first"))
		time.Sleep(10 * time.Hour)
		for n := len(tracker.gaps()); len(tracker.gaps()) == n; { // the next wait begins
			time.Sleep(time.Second)
		}
		tracker.setDown(false)
		time.Sleep(2 * time.Minute)
		add(t, m, fakeURL, newTorrent("second"))
		time.Sleep(time.Second)
		if got := tracker.take(); len(got) != 2 {
			t.Errorf("announced %+v", got)
		}
	})
}

func TestPingsAnIdleTracker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := &fakeTracker{t: t}
		m := tracker.manager()
		defer closeManager(t, m)
		add(t, m, fakeURL, newTorrent("torrent"))
		const idle = 10 * time.Minute
		time.Sleep(idle)
		synctest.Wait()
		tracker.mu.Lock()
		defer tracker.mu.Unlock()
		last, end := tracker.dials[0], time.Now()
		for _, ping := range append(tracker.pings, end) {
			if gap := ping.Sub(last); gap > 30*time.Second {
				t.Errorf("no ping for %v", gap)
			}
			last = ping
		}
		if n := len(tracker.pings); n > int(idle/(10*time.Second)) {
			t.Errorf("%d pings in %v", n, idle)
		}
	})
}

func TestDeadConnectionIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := &fakeTracker{t: t, mute: true}
		m := tracker.manager()
		defer closeManager(t, m)
		torrent := newTorrent("torrent")
		add(t, m, fakeURL, torrent)
		time.Sleep(41 * time.Second)
		synctest.Wait()
		if err := torrent.last().Err; err == nil || !strings.Contains(err.Error(), errSilent.Error()) {
			t.Errorf("status %v, want that the tracker is silent", err)
		}
	})
}
