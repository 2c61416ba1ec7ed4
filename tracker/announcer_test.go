package tracker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeTrackers stands in for the network: it answers the announces of an HTTP client
// as told and keeps them.
type fakeTrackers struct {
	mu     sync.Mutex
	answer map[string]string // by host; missing means unreachable
	log    []announced
}

type announced struct {
	at    time.Time
	host  string
	query url.Values
}

func (f *fakeTrackers) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, announced{time.Now(), r.URL.Host, r.URL.Query()})
	body, ok := f.answer[r.URL.Host]
	if !ok {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// take returns what has been announced since the last time, as "host event".
func (f *fakeTrackers) take() (events []string) {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.log {
		events = append(events, strings.TrimSpace(a.host+" "+a.query.Get("event")))
	}
	f.log = nil
	return events
}

// query returns the parameters of announce i.
func (f *fakeTrackers) query(i int) url.Values {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log[i].query
}

func (f *fakeTrackers) expect(t *testing.T, when string, want ...string) {
	t.Helper()
	got := f.take()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: announced %q, want %q", when, got, want)
	}
}

func (f *fakeTrackers) set(host, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer[host] = body
}

const ok30min = "d8:intervali1800e5:peers0:e"

// announcing runs f within a bubble of fake time, with an announcer for the tiers.
func announcing(t *testing.T, answers map[string]string, cfg Config, f func(*testing.T, *fakeTrackers, *Announcer)) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeTrackers{answer: answers}
		cfg.trip = fake
		if cfg.Stats == nil {
			cfg.Stats = func() Stats { return Stats{Left: 1} }
		}
		a := New(cfg)
		f(t, fake, a)
		a.Close(context.Background())
	})
}

func tiers(urls ...string) (tiers [][]string) {
	for _, u := range urls {
		tiers = append(tiers, []string{"http://" + u + "/announce"})
	}
	return tiers
}

func TestEventsOfADownload(t *testing.T) {
	announcing(t, map[string]string{"a": ok30min}, Config{Tiers: tiers("a")}, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		f.expect(t, "at first", "a started")
		time.Sleep(30*time.Minute + time.Second)
		f.expect(t, "after an interval", "a")
		a.Completed()
		f.expect(t, "when complete", "a completed")
		time.Sleep(30*time.Minute + time.Second)
		f.expect(t, "an interval later", "a")
		a.Close(context.Background())
		f.expect(t, "at the end", "a stopped")
	})
}

func TestCompletedBeforeTheTrackerAnswers(t *testing.T) {
	announcing(t, map[string]string{}, Config{Tiers: tiers("a")}, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		a.Completed()
		f.expect(t, "while unreachable", "a started")
		f.set("a", ok30min)
		time.Sleep(20 * time.Second)
		f.expect(t, "when it answers", "a started", "a completed")
		time.Sleep(30*time.Minute + time.Second)
		f.expect(t, "an interval later", "a")
	})
}

func TestStoppedIsForTrackersThatAnswered(t *testing.T) {
	answers := map[string]string{"a": ok30min, "b": "d14:failure reason2:noe"}
	announcing(t, answers, Config{Tiers: tiers("a", "b", "c")}, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		f.take()
		a.Close(context.Background())
		f.expect(t, "at the end", "a stopped")
	})
}

func TestAllTiersAndOneTrackerOfEach(t *testing.T) {
	cfg := Config{Tiers: [][]string{{"http://a1/", "http://a2/"}, {"http://b1/", "http://b2/"}}}
	answers := map[string]string{"a2": ok30min, "b1": ok30min, "b2": ok30min}
	announcing(t, answers, cfg, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		got := f.take()
		if !slices.Contains(got, "a2 started") {
			t.Errorf("announced %q, not to the tracker of the first tier that works", got)
		}
		if slices.Contains(got, "b1 started") == slices.Contains(got, "b2 started") {
			t.Errorf("announced %q, not to one tracker of the second tier", got)
		}
		b := got[slices.IndexFunc(got, func(s string) bool { return s[0] == 'b' })][:2]
		time.Sleep(30*time.Minute + time.Second)
		f.expect(t, "later, those that work come first", "a2", b)
	})
}

func TestNextTrackerOfATierTakesOver(t *testing.T) {
	cfg := Config{Tiers: [][]string{{"http://a1/", "http://a2/"}}}
	announcing(t, map[string]string{"a1": ok30min, "a2": ok30min}, cfg, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		first := f.take()[0][:2]
		second := map[string]string{"a1": "a2", "a2": "a1"}[first]
		f.mu.Lock()
		delete(f.answer, first)
		f.mu.Unlock()
		time.Sleep(30*time.Minute + time.Second)
		f.expect(t, "when the first fails", first, second+" started")
	})
}

func TestTrackersAreShuffledWithinATier(t *testing.T) {
	var urls []string
	for i := range 20 {
		urls = append(urls, fmt.Sprintf("http://t%02d/", i))
	}
	announcing(t, map[string]string{}, Config{Tiers: [][]string{urls}}, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		got := f.take()
		if len(got) != len(urls) || slices.IsSorted(got) {
			t.Errorf("tried %q", got)
		}
	})
}

func TestIntervalsAreBounded(t *testing.T) {
	for _, c := range []struct {
		body string
		want time.Duration
	}{
		{"d8:intervali1e5:peers0:e", minInterval},
		{"d8:intervali-5e5:peers0:e", defaultInterval},
		{"d8:intervali9223372036854775807e5:peers0:e", maxInterval},
		{"d8:interval3:nan5:peers0:e", defaultInterval},
		{"d5:peers0:e", defaultInterval},
	} {
		var next time.Duration
		cfg := Config{Tiers: tiers("a"), OnStatus: func(s Status) { next = time.Until(s.Next) }}
		announcing(t, map[string]string{"a": c.body}, cfg, func(t *testing.T, f *fakeTrackers, a *Announcer) {
			f.take()
			if next != c.want {
				t.Errorf("%s: next announce after %v, want %v", c.body, next, c.want)
			}
			time.Sleep(c.want - time.Second)
			f.expect(t, "before the interval is over")
			time.Sleep(2 * time.Second)
			f.expect(t, "after it", "a")
		})
	}
}

func TestWantMoreRespectsTheMinimumInterval(t *testing.T) {
	for body, soonest := range map[string]time.Duration{
		ok30min:       1800 * time.Second,
		"d5:peers0:e": defaultMinInterval,
		"d8:intervali1800e12:min intervali300e5:peers0:e":  300 * time.Second,
		"d8:intervali1800e12:min intervali-1e5:peers0:e":   1800 * time.Second,
		"d8:intervali1800e12:min intervali9999e5:peers0:e": 3600 * time.Second,
	} {
		announcing(t, map[string]string{"a": body}, Config{Tiers: tiers("a")}, func(t *testing.T, f *fakeTrackers, a *Announcer) {
			f.take()
			a.WantMore()
			time.Sleep(soonest - time.Second)
			a.WantMore()
			f.expect(t, "too early")
			time.Sleep(2 * time.Second)
			f.expect(t, body, "a")
		})
	}
}

func TestFailuresBackOff(t *testing.T) {
	announcing(t, map[string]string{}, Config{Tiers: tiers("a")}, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		for i := 1; i < len(f.log); i++ {
			pause, want := f.log[i].at.Sub(f.log[i-1].at), backoff(i)
			if pause < want*8/10 || pause > want*12/10 {
				t.Errorf("pause %d is %v, want about %v", i, pause, want)
			}
		}
		if n := len(f.log); n < 25 || n > 45 {
			t.Errorf("%d announces in a day", n)
		}
	})
}

func TestWantMoreAndCompletedDoNotDisturbABackOff(t *testing.T) {
	announcing(t, map[string]string{}, Config{Tiers: tiers("a")}, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		time.Sleep(time.Hour)
		f.take()
		a.WantMore()
		a.Completed()
		time.Sleep(time.Second)
		f.expect(t, "right after")
	})
}

func TestStatusIsToldWhenItChanges(t *testing.T) {
	var told []string
	cfg := Config{Tiers: tiers("a"), OnStatus: func(s Status) {
		told = append(told, fmt.Sprintf("%v %d %d %s", s.OK, s.Seeds, s.Leeches, s.Message))
	}}
	announcing(t, map[string]string{"a": ok30min}, cfg, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		for _, body := range []string{
			ok30min,
			ok30min,
			"d8:completei3e10:incompletei-7e8:intervali1800e5:peers0:e",
			"d8:intervali1800e5:peers0:15:warning message5:a\nb\x00ce",
			"d14:failure reason9:forbiddene",
			"d14:failure reason9:forbiddene",
		} {
			f.take()
			f.set("a", body)
			time.Sleep(35 * time.Minute)
		}
		f.take()
		want := []string{
			"true 0 0 ",
			"true 3 0 ",
			"true 0 0 a\uFFFDb\uFFFDc",
			"false 0 0 the tracker refused: forbidden",
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %q\nwant %q", told, want)
		}
	})
}

func TestAddedTrackerAndDuplicates(t *testing.T) {
	answers := map[string]string{"a": ok30min, "b": ok30min}
	announcing(t, answers, Config{Tiers: tiers("a", "a")}, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		f.expect(t, "at first", "a started")
		a.AddTracker("http://b/announce")
		a.AddTracker("http://a/announce")
		a.AddTracker("wss://c/announce")
		f.expect(t, "added", "b started")
		a.Close(context.Background())
		a.AddTracker("http://d/announce")
		f.expect(t, "closed", "a stopped", "b stopped")
	})
}

func TestNumberOfTrackersIsBounded(t *testing.T) {
	var hosts []string
	for i := range maxTrackers + 50 {
		hosts = append(hosts, fmt.Sprint("t", i))
	}
	announcing(t, map[string]string{}, Config{Tiers: tiers(hosts...)}, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		if n := len(f.take()); n != maxTrackers {
			t.Errorf("%d trackers asked", n)
		}
	})
}

func TestAnnounceCarriesWhatTrackersNeed(t *testing.T) {
	cfg := Config{
		Tiers:    [][]string{{"http://a/announce?passkey=x%20y&k=1"}},
		InfoHash: [20]byte{0, ' ', '+', '%', '&', 0xff},
		PeerID:   [20]byte([]byte("-CW0001-abcdefghijkl")),
		Port:     fixedPort(6881),
		Key:      0x0a0b0c0d,
		Stats:    func() Stats { return Stats{1, 2, 3} },
		NumWant:  func() int { return 7 },
	}
	announcing(t, map[string]string{"a": "d8:intervali60e5:peers0:10:tracker id3:xyze"}, cfg, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		q := f.query(0)
		for key, want := range map[string]string{
			"passkey": "x y", "k": "1",
			"info_hash": string(cfg.InfoHash[:]), "peer_id": string(cfg.PeerID[:]), "port": "6881",
			"uploaded": "1", "downloaded": "2", "left": "3", "numwant": "7", "key": "0a0b0c0d",
			"compact": "1", "event": "started", "trackerid": "",
		} {
			if q.Get(key) != want {
				t.Errorf("%s is %q, want %q", key, q.Get(key), want)
			}
		}
		time.Sleep(61 * time.Second)
		if got := f.query(1).Get("trackerid"); got != "xyz" {
			t.Errorf("the second announce has the tracker id %q", got)
		}
	})
	if q := announceQuery("", "", request{infoHash: [20]byte{' '}}); strings.Contains(q, "+") {
		t.Errorf("a space is encoded as + in %s", q)
	}
}

func TestCloseIsBoundedByItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		trip := roundTrip(func(r *http.Request) (*http.Response, error) {
			if calls++; calls == 1 {
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(ok30min)), Request: r}, nil
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		a := New(Config{Tiers: tiers("a"), Stats: func() Stats { return Stats{} }, trip: trip})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		a.Close(ctx)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPeersAreHandedOn(t *testing.T) {
	var got []netip.AddrPort
	cfg := Config{Tiers: tiers("a"), OnPeers: func(_ string, _ netip.Addr, peers []netip.AddrPort) { got = append(got, peers...) }}
	body := "d8:intervali60e5:peers6:\x01\x02\x03\x04\x1a\xe1e"
	announcing(t, map[string]string{"a": body}, cfg, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		synctest.Wait()
		if len(got) != 1 || got[0].String() != "1.2.3.4:6881" {
			t.Errorf("peers %v", got)
		}
	})
}

func TestIsWebSocket(t *testing.T) {
	for u, want := range map[string]bool{
		"ws://a": true, "WSS://a:1/x": true, "http://a": false, "udp://a:1": false, "": false, ":": false,
	} {
		if IsWebSocket(u) != want {
			t.Error(u)
		}
	}
}
