package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/stream/media"
)

// maxMatched bounds the files among which subtitles of a whole playlist are looked
// for: each video is compared with each file.
const maxMatched = 2000

// choice is what is played of a torrent, by indices of its files.
type choice struct {
	files     []int         // in the order of play; never empty
	subtitles map[int][]int // of files
}

// all are the files to download.
func (c choice) all() []int {
	all := slices.Clone(c.files)
	for _, i := range c.files {
		all = append(all, c.subtitles[i]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// first are the files that a player opens first.
func (c choice) first() []int {
	return append([]int{c.files[0]}, c.subtitles[c.files[0]]...)
}

// selection is all as meta.ParseSelection reads it.
func (c choice) selection() string {
	var items []string
	for _, i := range c.all() {
		items = append(items, strconv.Itoa(i))
	}
	return strings.Join(items, ",")
}

// candidate is a file as package media sees it.
type candidate struct {
	index  int
	path   string
	length int64
}

func (c candidate) Path() string  { return c.path }
func (c candidate) Length() int64 { return c.length }

// candidates are the files of a torrent but padding, which wanted, if not nil, has.
func candidates(info *meta.Info, wanted []bool) []candidate {
	var files []candidate
	for i := range info.Files {
		if file := &info.Files[i]; !file.Pad && (wanted == nil || wanted[i]) {
			files = append(files, candidate{i, file.DisplayPath(), file.Length})
		}
	}
	return files
}

// choose finds what is to be played. preset is what the magnet link selects.
func choose(info *meta.Info, f *streamFlags, preset string) (choice, error) {
	c := choice{subtitles: make(map[int][]int)}
	wanted, err := meta.ParseSelection(f.file, info)
	if err != nil {
		return c, err
	}
	if f.file == "" && preset != "" {
		wanted = meta.SelectOnly(preset, info)
	}
	files := candidates(info, wanted)
	if f.playlist {
		for _, i := range media.Playlist(files) {
			c.files = append(c.files, files[i].index)
		}
	} else if i := media.Largest(files); i >= 0 {
		c.files = []int{files[i].index}
	} else if f.file != "" { // the player may know better
		largest := slices.MaxFunc(files, func(a, b candidate) int { return int(min(max(a.length-b.length, -1), 1)) })
		c.files = []int{largest.index}
	}
	if len(c.files) == 0 {
		return c, usagef("%q has no audio or video file; choose a file with --file (--list shows them)", info.Name)
	}
	c.matchSubtitles(candidates(info, nil))
	return c, nil
}

// matchSubtitles finds the subtitles that belong to what is played.
func (c choice) matchSubtitles(files []candidate) {
	played := c.files
	if len(files) > maxMatched {
		played = played[:1]
	}
	matcher := media.NewMatcher(files)
	for _, index := range played {
		video := slices.IndexFunc(files, func(f candidate) bool { return f.index == index })
		if video < 0 || media.KindOf(files[video].path) != media.Video {
			continue
		}
		for _, sub := range matcher.Subtitles(video) {
			c.subtitles[index] = append(c.subtitles[index], files[sub].index)
		}
	}
}

// listStreams shows the files of a torrent, and which of them would be played.
func (a *app) listStreams(ctx context.Context, src *meta.Source, f *streamFlags) error {
	torrent, preset := src.Torrent, ""
	if torrent == nil {
		var err error
		if torrent, err = a.fetchMetadata(ctx, src, &f.engine); err != nil {
			return err
		}
		preset = src.Magnet.Select
	}
	chosen, chooseErr := choose(torrent.Info, f, preset)
	selected := make([]bool, len(torrent.Info.Files))
	if chooseErr == nil {
		for _, i := range chosen.all() {
			selected[i] = true
		}
	} else if f.file != "" {
		return chooseErr
	}
	event := newTorrentEvent(torrent.Info, torrent.Magnet().String(), selected)
	a.event("torrent", event)
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "File\tSize\tKind\tPath\n")
	for _, file := range event.Files {
		path := file.Path
		if file.Selected {
			path += "  (played)"
			if !slices.Contains(chosen.files, file.Index) {
				path = file.Path + "  (goes with it)"
			}
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\n", file.Index, formatBytes(file.Length), media.KindOf(file.Path), path)
	}
	table.Flush()
	a.result(strings.TrimRight(b.String(), "\n"))
	return nil
}
