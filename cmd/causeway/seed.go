package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
)

type seedFlags struct {
	engine engineFlags
	data   string

	overwrite bool
}

func (a *app) seedCommand() *cobra.Command {
	var f seedFlags
	cmd := &cobra.Command{
		Use:        "seed PATH...",
		Short:      "Seed files or folders",
		SuggestFor: []string{"upload"},
		Long: `Seed files or folders until interrupted, and print their magnet links.

A torrent is made of each PATH, with the trackers given. For a .torrent file, the
data is taken from --data; whatever is missing of it is downloaded. A file that is
longer than in the torrent is not cut, as download does it.`,
		Example: `  causeway seed Holiday --tracker udp://tracker.example:6969
  causeway seed holiday.torrent --data Downloads`,
		Args:              arguments(1, -1, "a file, a folder or a .torrent file"),
		ValidArgsFunction: completePath(-1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.seed(cmd.Context(), args, &f)
		},
	}
	flags := cmd.Flags()
	group(flags, groupStorage, func() {
		flags.StringVar(&f.data, "data", "", "`FOLDER` with the data of .torrent files (default the current folder)")
		addOverwrite(flags, &f.overwrite)
	})
	f.engine.add(flags)
	return cmd
}

// seedable is a torrent and where its data is.
type seedable struct {
	source   *meta.Source
	root     string
	fresh    bool     // the torrent was made of the data just now
	trackers []string // besides those of the torrent
}

func (a *app) seed(ctx context.Context, paths []string, f *seedFlags) error {
	if err := f.engine.check(); err != nil {
		return err
	}
	var torrents []seedable
	named := make(namedOnce)
	for _, path := range paths {
		load := a.makeSeed
		if f.data != "" || isTorrentName(path) {
			load = a.loadSeed
		}
		torrent, err := load(ctx, path, f)
		if err != nil {
			return err
		}
		if err := named.check(path, torrent.source); err != nil {
			return err
		}
		torrents = append(torrents, torrent)
	}
	s, err := a.open(&f.engine)
	if err != nil {
		return err
	}
	for _, t := range torrents {
		torrent, err := s.engine.Add(t.source, client.TorrentOptions{
			Dir: t.root, Peers: f.engine.peers, Trackers: t.trackers, Trusted: t.fresh, KeepLonger: true, Overwrite: f.overwrite,
		})
		if err != nil {
			s.engine.Close()
			return err
		}
		s.add(torrent)
	}
	s.onMissing = func(t *task, stats client.Stats) {
		a.warn(t.infoHash, fmt.Sprintf("only %s of %q is there; downloading the rest", percentOf(stats.Wanted-stats.Left, stats.Wanted), t.Name()))
		a.result(t.Magnet())
	}
	s.onComplete = func(t *task) {
		a.event("seeding", seedingEvent{t.infoHash, t.Magnet()})
		a.line("%s: seeding until interrupted", t.Name())
		if !t.missing {
			a.result(t.Magnet())
		}
	}
	return s.run(ctx, true)
}

// makeSeed makes a torrent of a file or folder.
func (a *app) makeSeed(ctx context.Context, path string, f *seedFlags) (seedable, error) {
	if err := checkData(path); err != nil {
		if scheme, _, ok := strings.Cut(path, ":"); ok && slices.Contains([]string{"magnet", "http", "https"}, strings.ToLower(scheme)) {
			return seedable{}, usagef("seed needs the data, not a link; to download it and go on seeding, there is `causeway download --seed`")
		}
		return seedable{}, err
	}
	return a.makeTorrent(ctx, path, meta.CreateOptions{Trackers: tiers(f.engine.trackers)})
}

// makeTorrent makes a torrent of a file or folder that is there.
func (a *app) makeTorrent(ctx context.Context, path string, o meta.CreateOptions) (seedable, error) {
	meter := a.newMeter("hashing", func(int64, int64) {})
	defer meter.end()
	o.Progress = meter.update
	o.Warn = func(message string) { a.warn("", message) }
	encoded, err := meta.Create(ctx, path, o)
	if err != nil {
		return seedable{}, err
	}
	torrent, err := meta.ParseTorrent(encoded)
	if err != nil {
		return seedable{}, err
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return seedable{}, err
	}
	if absolute, err = filepath.EvalSymlinks(absolute); err != nil {
		return seedable{}, err
	}
	return seedable{source: &meta.Source{Torrent: torrent}, root: filepath.Dir(absolute), fresh: true}, nil
}

// loadSeed reads a .torrent file and finds its data.
func (a *app) loadSeed(ctx context.Context, path string, f *seedFlags) (seedable, error) {
	src, err := a.load(ctx, path, f.engine.listen)
	if err != nil {
		return seedable{}, err
	}
	if src.Torrent == nil {
		return seedable{}, usagef("seed needs a .torrent file, or the data itself, not a magnet link; to download and go on seeding, there is `causeway download --seed`")
	}
	folder := f.data
	if folder == "" {
		folder = "."
	}
	root, found := src.Torrent.Info.Root(folder)
	if !found {
		return seedable{}, usagef("the data of %q is not in %s; name the folder that holds it with --data", src.Torrent.Info.Name, folder)
	}
	return seedable{source: src, root: root, trackers: f.engine.trackerList()}, nil
}
