package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
)

type downloadFlags struct {
	engine     engineFlags
	out        string
	selection  listFlag
	seed       bool
	sequential bool
	overwrite  bool
}

// downloadCommand has the flags and the work of download, but not its name: it
// is the root command too.
func (a *app) downloadCommand() *cobra.Command {
	var f downloadFlags
	cmd := &cobra.Command{
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.download(cmd.Context(), args, &f)
		},
	}
	flags := cmd.Flags()
	group(flags, groupContent, func() {
		flags.Var(&f.selection, "select", "`LIST` of files to download: 0,3-7, globs, folders with a slash at the end (repeatable, default all)")
		flags.BoolVar(&f.seed, "seed", false, "keep on seeding when all is there")
		flags.BoolVar(&f.sequential, "sequential", false, "download pieces in order")
	})
	group(flags, groupStorage, func() {
		addOut(flags, &f.out)
		addOverwrite(flags, &f.overwrite)
	})
	f.engine.add(flags)
	return cmd
}

func (a *app) downloadNamedCommand() *cobra.Command {
	cmd := a.downloadCommand()
	cmd.Use = "download SOURCE..."
	cmd.SuggestFor = []string{"get", "add", "fetch", "leech"}
	cmd.Short = "Download torrents; the default command"
	cmd.Long = `Download torrents, and exit when all of them are there.

After an interrupt, the same command continues where it stopped. Files that are in the
way and are not the torrent's are never written to, unless --overwrite says so.`
	cmd.Example = `  causeway download 'magnet:?xt=urn:btih:...' -o Downloads --select '*.mkv'`
	cmd.ValidArgsFunction = completeSource(-1)
	cmd.Args = arguments(1, -1, "a magnet link, .torrent file, URL or infohash")
	return cmd
}

func (a *app) download(ctx context.Context, sources []string, f *downloadFlags) error {
	if err := f.engine.check(); err != nil {
		return err
	}
	if err := checkOut(f.out); err != nil {
		return err
	}
	loaded, err := a.loadAll(ctx, sources, f.engine.listen)
	if err != nil {
		return err
	}
	s, err := a.open(&f.engine)
	if err != nil {
		return err
	}
	for _, src := range loaded {
		torrent, err := s.engine.Add(src, client.TorrentOptions{
			Dir: f.out, Select: string(f.selection), Sequential: f.sequential, Overwrite: f.overwrite,
			Peers: f.engine.peers, Trackers: f.engine.trackerList(),
		})
		if err != nil {
			s.engine.Close()
			return err
		}
		s.add(torrent)
	}
	s.onComplete = func(t *task) {
		if f.seed {
			a.event("seeding", seedingEvent{t.infoHash, t.Magnet()})
			a.line("%s: seeding until interrupted", t.Name())
		}
	}
	return s.run(ctx, f.seed)
}

// addOverwrite adds --overwrite, which the commands that download have.
func addOverwrite(flags *pflag.FlagSet, overwrite *bool) {
	flags.BoolVar(overwrite, "overwrite", false, "replace files that are in the way and are not the torrent's")
}

// addOut is --out of the commands that download.
func addOut(flags *pflag.FlagSet, out *string) {
	flags.StringVarP(out, "out", "o", ".", "`FOLDER` that the data goes to (default the current folder)")
}

// checkOut refuses a file as the folder that data goes to.
func checkOut(out string) error {
	if status, err := os.Stat(out); err == nil && !status.IsDir() {
		return usagef("--out needs a folder, and %q is a file", out)
	}
	return nil
}

// loadAll loads the sources of a command, each of which has to be another torrent.
func (a *app) loadAll(ctx context.Context, sources []string, listen string) ([]*meta.Source, error) {
	var loaded []*meta.Source
	named := make(namedOnce)
	for _, source := range sources {
		src, err := a.load(ctx, source, listen)
		if err != nil {
			return nil, err
		}
		if err := named.check(source, src); err != nil {
			return nil, err
		}
		loaded = append(loaded, src)
	}
	return loaded, nil
}

// namedOnce holds what the sources of a command were called, by infohash.
type namedOnce map[[20]byte]string

// check refuses a torrent that was named before.
func (n namedOnce) check(name string, src *meta.Source) error {
	if before, twice := n[src.InfoHash()]; twice {
		return usagef("%q is the same torrent as %q; name it once", name, before)
	}
	n[src.InfoHash()] = name
	return nil
}
