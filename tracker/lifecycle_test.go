package tracker

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func (f *fakeTrackers) expectInOrder(t *testing.T, when string, want ...string) {
	t.Helper()
	if got := f.take(); !slices.Equal(got, want) {
		t.Errorf("%s: announced %q, want %q", when, got, want)
	}
}

func TestCompletedGetsOutBeforeStopped(t *testing.T) {
	answers := map[string]string{"a": ok30min, "b": ok30min}
	announcing(t, answers, Config{Tiers: tiers("a", "b", "dead")}, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		f.take()
		a.Completed()
		start := time.Now()
		a.Close(context.Background())
		got := f.take()
		for _, host := range []string{"a", "b"} {
			heard := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s[:1] != host })
			if !slices.Equal(heard, []string{host + " completed", host + " stopped"}) {
				t.Errorf("heard %q", heard)
			}
		}
		if len(got) != 4 || time.Since(start) > 0 {
			t.Errorf("announced %q in %v", got, time.Since(start))
		}
	})
}

// slowTrip answers after a while, or when its request ends.
func slowTrip(f *fakeTrackers, delay time.Duration) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(delay):
			return f.RoundTrip(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

func TestCompletedGetsOutOfASlowTrackersFirstAnnounce(t *testing.T) {
	for delay, want := range map[time.Duration][]string{
		500 * time.Millisecond: {"a started", "a completed", "a stopped"},
		time.Hour:              nil, // and does not hold us up
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeTrackers{answer: map[string]string{"a": ok30min}}
			a := New(Config{Tiers: tiers("a"), Stats: func() Stats { return Stats{} }, trip: slowTrip(f, delay)})
			synctest.Wait() // "started" is on its way
			a.Completed()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			start := time.Now()
			a.Close(ctx)
			f.expectInOrder(t, delay.String(), want...)
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("Close took %v", took)
			}
		})
	}
}

func TestStoppedGetsOutThoughCompletedHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTrackers{answer: map[string]string{"a": ok30min}}
		a := New(Config{Tiers: tiers("a"), Stats: func() Stats { return Stats{} }, trip: roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Get("event") == "completed" {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return f.RoundTrip(r)
		})})
		f.take()
		a.Completed()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		a.Close(ctx)
		f.expectInOrder(t, "at the end", "a stopped")
	})
}

func TestTrackerThatIsNewToACompleteDownload(t *testing.T) {
	announcing(t, map[string]string{"a": ok30min, "b": ok30min}, Config{Tiers: tiers("a")}, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		f.take()
		a.Completed()
		f.expectInOrder(t, "complete", "a completed")
		a.AddTracker("http://b/announce")
		f.expectInOrder(t, "added", "b started")
		time.Sleep(time.Hour)
		f.expect(t, "an hour later", "a", "a", "b", "b")
	})
}

func TestRefusalsSayWhenToRetry(t *testing.T) {
	for reply, want := range map[string]time.Duration{
		"d14:failure reason2:no8:retry ini5ee":                        5 * time.Minute,
		"d14:failure reason2:no8:retry in2:10e":                       10 * time.Minute,
		"d14:failure reason2:no8:retry ini99999999999e8:intervali1ee": maxRetry,
		"d14:failure reason2:no8:intervali1200ee":                     20 * time.Minute,
		"d8:intervali1200e14:failure reason2:no8:retry in5:nevere":    0,
	} {
		var status Status
		cfg := Config{Tiers: tiers("a"), OnStatus: func(s Status) { status = s }}
		announcing(t, map[string]string{"a": reply}, cfg, func(t *testing.T, f *fakeTrackers, a *Announcer) {
			f.expectInOrder(t, "at first", "a started")
			a.WantMore()
			if want == 0 {
				time.Sleep(30 * 24 * time.Hour)
				f.expectInOrder(t, reply)
				if !status.Next.IsZero() || !strings.Contains(status.Message, "not to be asked again") {
					t.Errorf("%+v", status)
				}
				return
			}
			time.Sleep(want - time.Second)
			f.expectInOrder(t, reply+" too early")
			time.Sleep(2 * time.Second)
			f.expectInOrder(t, reply, "a started")
		})
	}
}

func TestRetryAfterOfHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		a := New(Config{Tiers: tiers("a"), Stats: func() Stats { return Stats{} }, trip: roundTrip(func(r *http.Request) (*http.Response, error) {
			n.Add(1)
			return &http.Response{Status: "429 Too Many Requests", StatusCode: 429, Header: http.Header{"Retry-After": {"1800"}},
				Body: io.NopCloser(strings.NewReader("slow down")), Request: r}, nil
		})})
		defer a.Close(t.Context())
		time.Sleep(1799 * time.Second)
		if synctest.Wait(); n.Load() != 1 {
			t.Errorf("asked %d times", n.Load())
		}
		time.Sleep(2 * time.Second)
		if synctest.Wait(); n.Load() != 2 {
			t.Errorf("asked %d times", n.Load())
		}
	})
}

func TestOneTrackerAtATime(t *testing.T) {
	cfg := Config{Tiers: tiers("a", "b", "c"), OneAtATime: true}
	announcing(t, map[string]string{"a": ok30min, "b": ok30min, "c": ok30min}, cfg, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		f.expectInOrder(t, "at first", "a started")
		time.Sleep(30*time.Minute + time.Second)
		f.expectInOrder(t, "an interval later", "a")
		f.mu.Lock()
		delete(f.answer, "a")
		f.mu.Unlock()
		time.Sleep(30 * time.Minute)
		f.expectInOrder(t, "when it fails", "a", "b started", "a stopped")
		f.set("a", ok30min)
		time.Sleep(30*time.Minute + time.Second)
		f.expectInOrder(t, "the one that works is kept", "b")
		a.AddTracker("http://d/announce")
		f.expectInOrder(t, "one more waits")
		a.RemoveTrackers("http://b/announce", "http://c/announce", "http://unknown/")
		f.expect(t, "when it is removed", "b stopped", "a started")
		a.Completed()
		a.Close(context.Background())
		f.expectInOrder(t, "at the end", "a completed", "a stopped")
	})
}

func TestTurningToOneTrackerAtATime(t *testing.T) {
	answers := map[string]string{"b": ok30min, "c": ok30min, "d": ok30min}
	announcing(t, answers, Config{Tiers: tiers("a", "b", "c", "d")}, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		f.expect(t, "at first", "a started", "b started", "c started", "d started")
		a.OneAtATime()
		a.OneAtATime()
		f.expect(t, "when it turns out", "c stopped", "d stopped")
		time.Sleep(30*time.Minute + time.Second)
		f.expectInOrder(t, "an interval later", "b")
		a.Close(context.Background())
		f.expectInOrder(t, "at the end", "b stopped")
	})
}

func TestTurningWhileAnnouncesAreOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTrackers{answer: map[string]string{"a": ok30min, "b": ok30min}}
		a := New(Config{Tiers: tiers("a", "b"), Stats: func() Stats { return Stats{} }, trip: slowTrip(f, time.Second)})
		synctest.Wait()
		a.OneAtATime()
		time.Sleep(time.Hour)
		f.expectInOrder(t, "in an hour", "a started", "a")
		a.Close(t.Context())
		f.expectInOrder(t, "at the end", "a stopped")
	})
}

func TestTrackersURLsAsPeopleWriteThem(t *testing.T) {
	cfg := Config{Tiers: [][]string{{" \t\ufeffhttp://a/announce?pass=a b&name=\u00e9\r\n"}, {"http://a/announce?pass=a b&name=\u00e9"}}}
	announcing(t, map[string]string{"a": ok30min}, cfg, func(t *testing.T, f *fakeTrackers, a *Announcer) {
		q := f.query(0)
		if q.Get("pass") != "a b" || q.Get("name") != "\u00e9" {
			t.Errorf("query %v", q)
		}
		f.expectInOrder(t, "once", "a started")
	})
}

func TestTimesAreMonotonic(t *testing.T) {
	a := New(Config{Tiers: [][]string{{"http://127.0.0.1:1/"}}, Stats: func() Stats { return Stats{} }})
	defer a.Close(t.Context())
	now := time.Now()
	l := &line{trackers: []*trackerState{{}}}
	l.succeeded(l.trackers[0], &response{interval: 1800}, now)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range []time.Time{l.last, l.next, a.lines[0].next} {
		if !strings.Contains(at.String(), " m=") {
			t.Errorf("%v depends on the wall clock", at)
		}
	}
}

func TestManyCyclesLeaveNothing(t *testing.T) {
	tracker := record(t, "127.0.0.1:0", onePeer)
	for range 20 {
		a := New(Config{Tiers: [][]string{{tracker.URL + "/announce"}, {"http://127.0.0.1:1/"}}, Stats: func() Stats { return Stats{} }})
		a.WantMore()
		a.Close(t.Context())
		a.Close(t.Context())
		a.WantMore()
		a.OneAtATime()
		a.RemoveTrackers(tracker.URL)
	}
}
