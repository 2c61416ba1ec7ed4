package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rivo/uniseg"
	"github.com/schollz/progressbar/v3"
)

const (
	barInterval  = 200 * time.Millisecond // between two drawings of a bar
	lineInterval = 5 * time.Second        // between two lines where bars cannot be

	// In columns. A narrower bar shows nothing, and a shorter name says nothing.
	leastBar, mostBar   = 10, 24
	leastName, mostName = 8, 28

	// mainDetails are worth more than a bar: with the rate come the time left, the
	// peers, and one more.
	mainDetails = 4
)

// fit lays out a line of that many columns: the name, a bar, and details, of which
// the first matter most. What there is no room for is left out: first minor details,
// then the bar, then others; the name and the bar get what is left. bar draws one of
// that many columns, with a percentage, which is all that remains for 0.
func fit(columns int, name string, bar func(columns int) string, details []string) string {
	wide, shown := leastBar, len(details)
	rest := func() string { return "  " + bar(wide) + "  " + strings.Join(details[:shown], ", ") }
	least := min(uniseg.StringWidth(name), leastName)
	for shown > 1 && least+uniseg.StringWidth(rest()) > columns {
		if shown <= mainDetails && wide > 0 {
			wide = 0
		} else {
			shown--
		}
	}
	name = shorten(name, min(max(columns-uniseg.StringWidth(rest()), least), mostName))
	if wide > 0 {
		wide = min(wide+columns-uniseg.StringWidth(name+rest()), mostBar)
	}
	return name + rest()
}

// percentBar draws how far something is.
func percentBar(done, total int64) func(columns int) string {
	return func(columns int) string {
		options := []progressbar.Option{
			progressbar.OptionSetWriter(io.Discard),
			progressbar.OptionSetWidth(max(columns-len("||"), 0)),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetRenderBlankState(true),
		}
		if columns == 0 {
			options = append(options, progressbar.OptionSetTheme(progressbar.Theme{}))
		}
		b := progressbar.NewOptions64(max(total, 1), options...)
		// It fails only beyond its end, where it stays full.
		_ = b.Set64(min(done, total))
		return strings.TrimSpace(b.String())
	}
}

// shorten cuts text to a number of columns.
func shorten(text string, columns int) string {
	if uniseg.StringWidth(text) <= columns {
		return text
	}
	clipped, left := "", columns-1 // one is for the ellipsis
	for clusters := uniseg.NewGraphemes(text); clusters.Next() && clusters.Width() <= left; {
		clipped += clusters.Str()
		left -= clusters.Width()
	}
	return clipped + "…"
}

// meter shows how far a job of known size is, on standard error: as a bar on a
// terminal, else as a line every few seconds.
type meter struct {
	printer *printer
	label   string
	started time.Time
	shown   time.Time
	onShow  func(done, total int64) // for JSON
}

func (a *app) newMeter(label string, onShow func(done, total int64)) *meter {
	now := time.Now()
	return &meter{printer: &a.printer, label: label, started: now, shown: now, onShow: onShow}
}

// update is the progress function of package meta.
func (m *meter) update(done, total int64) {
	interval := lineInterval
	switch {
	case m.printer.json:
		interval = time.Second
	case m.printer.bars():
		interval = barInterval
	}
	now := time.Now()
	if now.Sub(m.shown) < interval && done < total {
		return
	}
	m.shown = now
	rate := float64(done) / max(now.Sub(m.started).Seconds(), 1e-9)
	switch {
	case m.printer.json:
		m.onShow(done, total)
	case m.printer.bars():
		m.printer.draw([]string{m.printer.bar(m.label, percentBar(done, total), formatRate(rate), amountOf(done, total))})
	case done < total:
		m.printer.line("%s: %s of %s, %s", m.label, formatPercent(done, total), formatBytes(total), formatRate(rate))
	}
}

// end takes the bar away.
func (m *meter) end() { m.printer.draw(nil) }

// amountOf is how much of something is there, in words.
func amountOf(done, total int64) string {
	return formatBytes(done) + " of " + formatBytes(total)
}

// percentOf is how far a torrent is, in words.
func percentOf(done, total int64) string {
	return fmt.Sprintf("%s of %s", formatPercent(done, total), formatBytes(total))
}
