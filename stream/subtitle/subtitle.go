// Package subtitle turns subtitle files as torrents carry them (SubRip, SubStation
// Alpha, WebVTT, in any common character encoding) into WebVTT in UTF-8, the one
// form that browsers take and every player knows.
//
// It does not retime, translate or extract tracks from films.
//
//	if subtitle.Convertible(name) {
//		vtt, err := subtitle.WebVTT(name, data)
//	}
package subtitle

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/asticode/go-astisub"
)

// MaxSize is the largest subtitle file, in bytes, that is converted: several
// times the longest film's, small enough to be held in memory.
const MaxSize = 8 << 20

// maxLines bounds the time that a conversion takes, to a few seconds: the parsers spend
// 20 µs on a line, however short. A long film has ten thousand, and every syllable of its
// songs moving on its own hardly a hundred thousand.
const maxLines = 200_000

// ErrTooLarge means that a file is longer than MaxSize, or has more lines than any
// subtitles.
var ErrTooLarge = errors.New("subtitle file is too large")

type parser func([]byte) (*astisub.Subtitles, error)

func parserFor(name string) parser {
	switch strings.ToLower(path.Ext(name)) {
	case ".srt":
		return parseSRT
	case ".ass", ".ssa":
		return parseSSA
	case ".vtt":
		return func(b []byte) (*astisub.Subtitles, error) {
			return astisub.ReadFromWebVTT(bytes.NewReader(b))
		}
	default:
		return nil
	}
}

// Convertible reports whether WebVTT reads files of that name.
func Convertible(name string) bool { return parserFor(name) != nil }

// WebVTT converts a subtitle file, its format told by the name's extension, to
// WebVTT. A file without a single cue gives a valid, empty WebVTT file.
func WebVTT(name string, data []byte) (vtt []byte, err error) {
	// The parsers index into what they split; a file from strangers may make
	// them panic, which must cost this conversion only.
	defer func() {
		if p := recover(); p != nil {
			vtt, err = nil, fmt.Errorf("convert %q to WebVTT: malformed file: %v", name, p)
		}
	}()
	parse := parserFor(name)
	if parse == nil {
		return nil, fmt.Errorf("convert %q to WebVTT: only .srt, .ass, .ssa and .vtt can be converted", name)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("convert %q to WebVTT: %d bytes, at most %d: %w", name, len(data), MaxSize, ErrTooLarge)
	}
	text := decode(name, data)
	if lines := max(bytes.Count(text, []byte("\n")), bytes.Count(text, []byte("\r"))); lines > maxLines {
		return nil, fmt.Errorf("convert %q to WebVTT: %d lines, at most %d: %w", name, lines, maxLines, ErrTooLarge)
	}
	subs, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("convert %q to WebVTT: %w", name, err)
	}
	tidy(subs)
	if len(subs.Items) == 0 {
		return []byte("WEBVTT\n"), nil
	}
	var out bytes.Buffer
	if err := subs.WriteToWebVTT(&out); err != nil {
		return nil, fmt.Errorf("convert %q to WebVTT: %w", name, err)
	}
	return out.Bytes(), nil
}

var timing = regexp.MustCompile(`^\s*\d+:\d+:\d+([,.]\d+)?\s*-->\s*\d+:\d+:\d+([,.]\d+)?(\s|$)`)

// parseSRT disarms the arrows that are no timing, each of which would make the
// parser give up on the whole file.
func parseSRT(data []byte) (*astisub.Subtitles, error) {
	lines := bytes.SplitAfter(data, []byte("\n"))
	for i, line := range lines {
		if bytes.Contains(line, []byte("-->")) && !timing.Match(line) {
			lines[i] = bytes.ReplaceAll(line, []byte("-->"), []byte("->"))
		}
	}
	return astisub.ReadFromSRT(bytes.NewReader(bytes.Join(lines, nil)))
}

// parseSSA hands only the events to the parser: WebVTT takes nothing from the
// other sections, and one odd value in them would fail the whole file.
func parseSSA(data []byte) (*astisub.Subtitles, error) {
	var events bytes.Buffer
	inside := false
	for line := range bytes.Lines(data) {
		trimmed := bytes.TrimSpace(line)
		switch {
		case bytes.HasPrefix(trimmed, []byte("[")):
			if inside = bytes.EqualFold(trimmed, []byte("[Events]")); inside {
				events.Write(line)
			}
		case inside && (bytes.HasPrefix(trimmed, []byte("Format:")) || bytes.HasPrefix(trimmed, []byte("Dialogue:"))):
			events.Write(line)
		}
	}
	return astisub.ReadFromSSAWithOptions(&events, astisub.SSAOptions{})
}

// override is SubStation markup ({\an8}, {\pos(1,2)}), which SubRip files borrow.
var override = regexp.MustCompile(`\{\\[^}]*\}`)

// tidy drops what WebVTT cannot say: markup of other formats, cues without
// text, and blank lines, which would end the cue.
func tidy(subs *astisub.Subtitles) {
	for _, item := range subs.Items {
		for i := range item.Lines {
			item.Lines[i].VoiceName = "" // an ASS actor, which may hold markup
			for j := range item.Lines[i].Items {
				part := &item.Lines[i].Items[j]
				part.Text = override.ReplaceAllString(part.Text, "")
			}
		}
		item.Lines = slices.DeleteFunc(item.Lines, func(l astisub.Line) bool {
			return strings.TrimSpace(l.String()) == ""
		})
	}
	subs.Items = slices.DeleteFunc(subs.Items, func(i *astisub.Item) bool {
		return len(i.Lines) == 0 || i.EndAt < i.StartAt || i.StartAt < 0
	})
}
