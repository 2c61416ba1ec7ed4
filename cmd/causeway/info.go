package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/causeway-bt/causeway/client/meta"
)

func (a *app) infoCommand() *cobra.Command {
	var engine engineFlags
	var selection listFlag
	cmd := &cobra.Command{
		Use:        "info SOURCE",
		SuggestFor: []string{"show", "list", "ls", "metadata"},
		Short:      "Show what is in a torrent",
		Long: `Show what is in a torrent, and how many seeds and leeches each of its trackers
counts (all are asked at once, for eight seconds at most; not with --no-trackers).
For a magnet link or an infohash, the metadata is fetched from peers, without the
data.`,
		Example:           `  causeway info holiday.torrent`,
		Args:              arguments(1, 1, "one magnet link, .torrent file, URL or infohash"),
		ValidArgsFunction: completeSource(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.info(cmd.Context(), args[0], string(selection), &engine)
		},
	}
	flags := cmd.Flags()
	group(flags, groupContent, func() {
		flags.Var(&selection, "select", "mark the files of this `LIST`: 0,3-7, globs, folders with a slash at the end (repeatable)")
	})
	engine.add(flags)
	for _, name := range []string{"preallocate", "slots", "web-slots"} { // of data, which is not fetched
		flags.Lookup(name).Hidden = true
	}
	return cmd
}

func (a *app) info(ctx context.Context, source, selection string, engine *engineFlags) error {
	src, err := a.load(ctx, source, engine.listen)
	if err != nil {
		return err
	}
	torrent := src.Torrent
	if torrent == nil {
		if torrent, err = a.fetchMetadata(ctx, src, engine); err != nil {
			return err
		}
	}
	var selected []bool
	if selection != "" {
		if selected, err = meta.ParseSelection(selection, torrent.Info); err != nil {
			return err
		}
	}
	event := newTorrentEvent(torrent.Info, torrent.Magnet().String(), selected)
	a.event("torrent", event)
	a.result(strings.TrimRight(describe(torrent, &event, selected != nil), "\n"))
	if engine.noTrk {
		return nil
	}
	way, err := a.network(engine.listen)
	if err != nil {
		return err
	}
	return a.infoTrackers(ctx, torrent.Info.InfoHash, slices.Concat(slices.Concat(torrent.Trackers...), engine.trackerList()), way)
}

// describe is the table that people get.
func describe(torrent *meta.Torrent, event *torrentEvent, mark bool) string {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(label, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", label, strings.ReplaceAll(value, "\n", "\n\t"))
		}
	}
	row("Name", event.Name)
	row("Infohash", event.InfoHash)
	row("Infohash v2", event.InfoHashV2)
	row("Size", fmt.Sprintf("%s (%d bytes)", formatBytes(event.Length), event.Length))
	row("Pieces", fmt.Sprintf("%d of %s", event.Pieces, formatBytes(event.PieceLength)))
	if event.Private {
		row("Private", "yes")
	}
	row("Source", event.Source)
	for i, tier := range torrent.Trackers {
		row(fmt.Sprintf("Trackers %d", i+1), strings.Join(tier, "\n"))
	}
	row("Web seeds", strings.Join(torrent.WebSeeds, "\n"))
	row("Nodes", strings.Join(torrent.Nodes, "\n"))
	row("Comment", torrent.Comment)
	row("Created by", torrent.CreatedBy)
	if !torrent.Created.IsZero() {
		row("Created", torrent.Created.Format(time.RFC3339))
	}
	row("Magnet", event.Magnet)
	table.Flush()
	b.WriteString("\n")
	fmt.Fprintf(table, "File\tSize\tPath\n")
	for _, file := range event.Files {
		path := file.Path
		if mark && file.Selected {
			path += "  (selected)"
		}
		fmt.Fprintf(table, "%d\t%s\t%s\n", file.Index, formatBytes(file.Length), path)
	}
	table.Flush()
	return b.String()
}
