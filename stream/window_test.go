package stream

import (
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	const (
		piece = 1 << 20
		film  = 8 << 30
	)
	base := demand{asked: film, remaining: film, pieceLength: piece, ahead: 30 * time.Second}
	with := func(change func(*demand)) demand {
		d := base
		change(&d)
		return d
	}
	for _, tc := range []struct {
		name string
		d    demand
		want int64
	}{
		{"nothing known", base, firstWindow},
		{"nothing known, large pieces", with(func(d *demand) { d.pieceLength = 16 << 20 }), 32 << 20},
		{"bitrate", with(func(d *demand) { d.bitrate = 1 << 20 }), 30 << 20},
		{"bitrate beats reading rate", with(func(d *demand) { d.bitrate, d.readRate = 1<<20, 1e9 }), 30 << 20},
		{"low bitrate", with(func(d *demand) { d.bitrate = 16 << 10 }), 2 * piece},
		{"absurd bitrate", with(func(d *demand) { d.bitrate = 1e18 }), maxWindow},
		{"reading rate", with(func(d *demand) { d.readRate = 1 << 20 }), 30 << 20},
		{"download tool", with(func(d *demand) { d.readRate = 1e9 }), maxMeasuredWindow},
		{"end of the file", with(func(d *demand) { d.remaining = 1000 }), 1000},
		{"probe", with(func(d *demand) { d.probe, d.asked = true, 65536 }), 65536},
		{"twice the time", with(func(d *demand) { d.bitrate, d.ahead = 1<<20, time.Minute }), 60 << 20},
	} {
		if got := tc.d.window(); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestMeterFollowsTheRateAndDecays(t *testing.T) {
	var m meter
	now := time.Unix(1000, 0)
	for range 300 { // 30 s of 1 MB/s
		m.add(100_000, now)
		now = now.Add(100 * time.Millisecond)
	}
	if got := m.at(now); got < 0.95e6 || got > 1.05e6 {
		t.Errorf("rate %.0f, want about 1000000", got)
	}
	if got := m.at(now.Add(30 * time.Second)); got > 1e4 {
		t.Errorf("rate %.0f after half a minute of nothing", got)
	}
}
