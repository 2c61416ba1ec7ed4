package main

import (
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/realpeer"
)

// A soak fails by the page that got nothing, and by nothing else that pages tell.
func TestSoakNamesThePageThatHung(t *testing.T) {
	events := []realpeer.PageEvent{
		{Page: 1, Event: "opened"}, {Page: 2, Event: "opened"},
		{Page: 1, Event: "came"}, {Page: 2, Event: "came"}, {Page: 1, Event: "status", Idle: 900},
		{Page: 2, Event: "stalled"}, {Page: 1, Event: "complete"}, {Page: 2, Event: "status", Idle: 21_000}, // it was killed then
		{Page: 1, Event: "gone", Idle: 1200},
	}
	hung, err := tally(events)
	want := soakPages{opened: 2, came: 2, completed: 1, stalled: 1, longest: 21 * time.Second, tab: 2}
	if err != nil || hung != want {
		t.Errorf("tally: %+v, %v; want %+v", hung, err, want)
	}
	good, _ := tally(append(events[:7:7], events[8]))
	if err := soakFaults([]soakSlice{{pages: good}, {pages: good}}); err != nil {
		t.Errorf("nobody hung: %v", err)
	}
	for want, all := range map[string][]soakSlice{
		"in slice 2 a page that ran got nothing for 21.0 s (tab 2)": {{pages: good}, {pages: hung}},
		"none of 5 pages completed":                                 {{pages: soakPages{came: 3}}, {pages: soakPages{came: 2}}},
	} {
		if err := soakFaults(all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := tally([]realpeer.PageEvent{{Page: 3, Event: "error", Message: "no tracker"}}); err == nil || !strings.Contains(err.Error(), "tab 3: no tracker") {
		t.Errorf("a page's error: %v", err)
	}
}

// Memory is compared without the time in which it grows to what the load takes.
func TestSoakMemoryLeavesOutTheWarmUp(t *testing.T) {
	var s soakSlice
	for i := range 12 {
		s.samples = append(s.samples, soakSample{rss: float64(min(i, 6))})
	}
	if middle, peak := s.rss(soakWarm); middle != 6 || peak != 6 {
		t.Errorf("after the warm-up %v, at most %v; want 6 of both", middle, peak)
	}
	if middle, _ := s.rss(0); middle != 5.5 {
		t.Errorf("the whole slice: %v, want 5.5", middle)
	}
}
