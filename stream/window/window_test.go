package window

import (
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	const (
		piece = 1 << 20
		film  = 8 << 30
	)
	base := Demand{Asked: film, Remaining: film, PieceLength: piece, Ahead: 30 * time.Second}
	with := func(change func(*Demand)) Demand {
		d := base
		change(&d)
		return d
	}
	for _, tc := range []struct {
		name string
		d    Demand
		want int64
	}{
		{"nothing known", base, firstWindow},
		{"nothing known, large pieces", with(func(d *Demand) { d.PieceLength = 16 << 20 }), 32 << 20},
		{"bitrate", with(func(d *Demand) { d.Bitrate = 1 << 20 }), 30 << 20},
		{"bitrate beats reading rate", with(func(d *Demand) { d.Bitrate, d.ReadRate = 1<<20, 1e9 }), 30 << 20},
		{"low bitrate", with(func(d *Demand) { d.Bitrate = 16 << 10 }), 2 * piece},
		{"absurd bitrate", with(func(d *Demand) { d.Bitrate = 1e18 }), maxWindow},
		{"reading rate", with(func(d *Demand) { d.ReadRate = 1 << 20 }), 30 << 20},
		{"download tool", with(func(d *Demand) { d.ReadRate = 1e9 }), maxMeasuredWindow},
		{"end of the file", with(func(d *Demand) { d.Remaining = 1000 }), 1000},
		{"probe", with(func(d *Demand) { d.Probe, d.Asked = true, 65536 }), 65536},
		{"twice the time", with(func(d *Demand) { d.Bitrate, d.Ahead = 1<<20, time.Minute }), 60 << 20},
	} {
		if got := tc.d.Window(); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestMeterFollowsTheRateAndDecays(t *testing.T) {
	var m Meter
	now := time.Unix(1000, 0)
	for range 300 { // 30 s of 1 MB/s
		m.Add(100_000, now)
		now = now.Add(100 * time.Millisecond)
	}
	if got := m.At(now); got < 0.95e6 || got > 1.05e6 {
		t.Errorf("rate %.0f, want about 1000000", got)
	}
	if got := m.At(now.Add(30 * time.Second)); got > 1e4 {
		t.Errorf("rate %.0f after half a minute of nothing", got)
	}
}
