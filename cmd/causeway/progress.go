package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
)

const (
	barWidth     = 24                     // characters
	barInterval  = 200 * time.Millisecond // between two drawings of a bar
	lineInterval = 5 * time.Second        // between two lines where bars cannot be
)

// bar draws the progress of one torrent as a line of text.
type bar struct {
	bar   *progressbar.ProgressBar
	total int64
}

func newBar() *bar { return &bar{} }

// render returns the line for done of total bytes, with detail after the bar.
func (b *bar) render(name string, done, total int64, detail string) string {
	if b.bar == nil || b.total != total {
		b.total = total
		b.bar = progressbar.NewOptions64(max(total, 1),
			progressbar.OptionSetWriter(io.Discard),
			progressbar.OptionSetWidth(barWidth),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetRenderBlankState(true),
		)
	}
	b.bar.Describe(shortName(name))
	// It fails only beyond its end, where it stays full.
	_ = b.bar.Set64(min(done, total))
	return fmt.Sprintf("%s  %s of %s, %s", strings.TrimSpace(b.bar.String()), formatBytes(done), formatBytes(total), detail)
}

// shortName leaves room for the bar on a narrow terminal.
func shortName(name string) string {
	const most = 28
	if runes := []rune(name); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return name
}

// meter shows how far a job of known size is, on standard error: as a bar on a
// terminal, else as a line every few seconds.
type meter struct {
	printer *printer
	label   string
	bar     *bar
	started time.Time
	shown   time.Time
	onShow  func(done, total int64) // for JSON
}

func (a *app) newMeter(label string, onShow func(done, total int64)) *meter {
	now := time.Now()
	return &meter{printer: &a.printer, label: label, bar: newBar(), started: now, shown: now, onShow: onShow}
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
		m.printer.draw([]string{m.bar.render(m.label, done, total, formatRate(rate))})
	case done < total:
		m.printer.line("%s: %s of %s, %s", m.label, formatPercent(done, total), formatBytes(total), formatRate(rate))
	}
}

// end takes the bar away.
func (m *meter) end() { m.printer.draw(nil) }

// percentOf is how far a torrent is, in words.
func percentOf(done, total int64) string {
	return fmt.Sprintf("%s of %s", formatPercent(done, total), formatBytes(total))
}
