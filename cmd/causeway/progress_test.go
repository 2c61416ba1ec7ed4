package main

import (
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"

	"github.com/causeway-bt/causeway/client"
)

// A line fits its terminal, and what matters most is there on the narrow ones too.
func TestBarsFitTheTerminal(t *testing.T) {
	const length = 3 << 30
	stats := client.Stats{
		State: client.StateDownloading, Wanted: length, Left: length * 55 / 100, DownRate: 1023 << 10, UpRate: 900 << 10,
		Peers: client.PeerCounts{TCP: 123}, ETA: 12*time.Hour + 34*time.Minute + 56*time.Second,
	}
	details := append(statusItems(stats), amountOf(stats.Wanted-stats.Left, stats.Wanted))
	const percent, rate, eta, peers, up, amount, bar = "45%", "down 1023 KiB/s", "12h34m56s left", "123 peers", "up 900 KiB/s", "1.4 GiB of 3.0 GiB", "|██"
	all := []string{percent, rate, eta, peers, up, amount, bar}
	long, wide := strings.Repeat("a.long.name.", 10), strings.Repeat("長い名前", 10) // each takes two columns
	for _, test := range []struct {
		columns int
		name    string
		has     []string
	}{
		{20, long, []string{percent, rate}},
		{60, long, []string{long[:7], percent, rate, eta}},
		{80, long, []string{long[:7], percent, rate, eta, peers}},
		{80, wide, []string{wide[:9], percent, rate, eta, peers}},
		{80, "a", []string{"a", percent, rate, eta, peers, up}},
		{100, long, []string{long[:7], percent, rate, eta, peers, up, bar}},
		{140, long, append(all, long[:20])},
		{140, wide, append(all, wide[:30])},
	} {
		line := fit(test.columns, test.name, percentBar(stats.Wanted-stats.Left, stats.Wanted), details)
		if width := uniseg.StringWidth(line); width > max(test.columns, 31) { // the least there is
			t.Errorf("%d columns on a terminal of %d: %s", width, test.columns, line)
		}
		for _, part := range test.has {
			if !strings.Contains(line, part) {
				t.Errorf("%d columns: no %q in %s", test.columns, part, line)
			}
		}
	}
}
