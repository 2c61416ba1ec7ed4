package main

import (
	"strings"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/stream"
)

// playback shows where the player is and how much there is ahead of it. ok is false
// if nobody reads.
func (st *streaming) playback(t *task, stats client.Stats) (bar, text string, ok bool) {
	reader, ok := st.mainReader()
	if !ok || stats.State == client.StateChecking {
		return "", "", false
	}
	st.app.event("playback", playbackEvent{
		InfoHash: reader.InfoHash, File: reader.File, Position: reader.Position, Buffered: reader.Buffered,
		Length: reader.Length, Rate: int64(reader.Rate), Waiting: reader.Waiting, Stalls: reader.Stalls,
	})
	ahead := formatBytes(reader.Buffered) + " ahead"
	if reader.Bitrate > 0 {
		seconds := float64(reader.Buffered) / reader.Bitrate
		ahead += " (" + formatDuration(time.Duration(seconds*float64(time.Second))) + ")"
	}
	if reader.Waiting {
		ahead = "waiting for peers"
	}
	details := append([]string{ahead}, statusItems(stats)...)
	at := formatPercent(reader.Position, reader.Length)
	bar = st.app.bar(st.view.files[reader.Index].name(), func(columns int) string {
		return strings.TrimSpace(at + " " + bufferBar(columns, reader.Position, reader.Buffered, reader.Length))
	}, details...)
	return bar, "at " + at + ", " + strings.Join(details, ", "), true
}

// mainReader is the response that has sent most: others are the player's looks at
// headers and indices.
func (st *streaming) mainReader() (main stream.ReaderStats, ok bool) {
	for _, reader := range st.server.Readers() {
		if !ok || reader.Sent > main.Sent {
			main, ok = reader, true
		}
	}
	return main, ok
}

// bufferBar draws what has been played, and what is there ahead of it.
func bufferBar(columns int, position, buffered, length int64) string {
	inside := columns - len("||")
	if inside < 0 {
		return ""
	}
	cell := func(bytes int64) int {
		return int(float64(inside) * min(float64(max(bytes, 0))/float64(max(length, 1)), 1))
	}
	played, there := cell(position), cell(position+buffered)
	return "|" + strings.Repeat("█", played) + strings.Repeat("▒", there-played) + strings.Repeat(" ", inside-there) + "|"
}
