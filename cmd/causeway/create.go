package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
)

type createFlags struct {
	out         string
	pieceLength byteSize
	noDate      bool
	noWeb       bool
	trackers    []string
	options     meta.CreateOptions
}

func (a *app) createCommand() *cobra.Command {
	var f createFlags
	cmd := &cobra.Command{
		Use:        "create PATH",
		SuggestFor: []string{"make", "new"},
		Short:      "Make a .torrent file of a file or folder",
		Long: `Make a .torrent file of a file or folder, and print its magnet link.

Each --tracker is a tier of its own; put commas between trackers of one tier.

The .torrent file that is written is never part of the torrent, even where it lies in
the folder itself. What is there under its name is written over only if it is a
.torrent file.`,
		Example: `  causeway create Holiday -o holiday.torrent
  causeway create Holiday --tracker udp://tracker.example:6969 --private`,
		Args:              arguments(1, 1, "the file or folder to make a torrent of"),
		ValidArgsFunction: completePath(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.create(cmd, args[0], &f)
		},
	}
	flags := cmd.Flags()
	group(flags, groupStorage, func() {
		flags.StringVarP(&f.out, "out", "o", "", "the .torrent `FILE` to write, - for standard output (default NAME.torrent)")
	})
	group(flags, groupTorrent, func() {
		flags.StringVar(&f.options.Name, "name", "", "`NAME` in the torrent (default that of PATH)")
		flags.StringVar(&f.options.Comment, "comment", "", "any `TEXT` for people to read")
		flags.Var(&f.pieceLength, "piece-length", "`SIZE` of a piece in bytes: a power of two from 16K to 256M (default automatic)")
		oneOf(flags, "piece-length", pieceLengths()...)
		flags.StringArrayVar(&f.trackers, "tracker", nil, "`URL` of a tracker (repeatable)")
		flags.StringArrayVar(&f.options.WebSeeds, "web-seed", nil, "`URL` of a web seed with the same data (repeatable)")
		flags.BoolVar(&f.options.Private, "private", false, "forbid DHT, PEX and local discovery")
		flags.StringVar(&f.options.Source, "source", "", "source `TAG`, which changes the infohash")
		flags.BoolVar(&f.noWeb, "no-web-trackers", false, "add no WebSocket trackers when none is given, by which browsers would find the torrent")
		flags.BoolVar(&f.noDate, "no-date", false, "leave the date out, for torrents that can be reproduced")
	})
	return cmd
}

// pieceLengths are the values of --piece-length.
func pieceLengths() (all []string) {
	const least, most = 16 << 10, 256 << 20
	for length := int64(least); length <= most; length *= 2 {
		if length < 1<<20 {
			all = append(all, strconv.FormatInt(length>>10, 10)+"K")
		} else {
			all = append(all, strconv.FormatInt(length>>20, 10)+"M")
		}
	}
	return all
}

func (a *app) create(cmd *cobra.Command, path string, f *createFlags) error {
	if f.out == "-" && a.json {
		return usagef("-o - and --json both need standard output; name a file after -o")
	}
	if err := checkData(path); err != nil {
		return err
	}
	out, err := a.torrentPath(path, f)
	if err != nil {
		return err
	}
	options := f.options
	options.Output = out
	options.PieceLength = int64(f.pieceLength)
	options.Trackers = tiers(f.trackers)
	if !f.noWeb && !options.Private {
		options.Trackers = client.WithWebTrackers(options.Trackers)
	}
	if !f.noDate {
		options.Created = time.Now()
	}
	meter := a.newMeter("hashing", func(done, total int64) {
		a.event("hashing", struct {
			Path   string `json:"path"`
			Done   int64  `json:"done"`
			Length int64  `json:"length"`
		}{path, done, total})
	})
	options.Progress = meter.update
	options.Warn = func(message string) { a.warn("", message) }
	encoded, err := meta.Create(cmd.Context(), path, options)
	meter.end()
	if err != nil {
		return err
	}
	torrent, err := meta.ParseTorrent(encoded)
	if err != nil {
		return err
	}
	magnet := torrent.Magnet().String()
	if out == "" {
		a.line("%s", magnet)
		_, err := a.stdout.Write(encoded)
		return err
	}
	if err := writeWhole(out, encoded); err != nil {
		return err
	}
	event := newTorrentEvent(torrent.Info, magnet, nil)
	event.Path = out
	a.event("torrent", event)
	a.line("%s: %s in %d files, %d pieces of %s", out, formatBytes(torrent.Info.Length), len(event.Files), event.Pieces, formatBytes(event.PieceLength))
	a.result(magnet)
	return nil
}

// tiers reads the values of --tracker.
func tiers(values []string) [][]string {
	var tiers [][]string
	for _, value := range values {
		var tier []string
		for tracker := range strings.SplitSeq(value, ",") {
			if tracker = meta.TrackerURL(tracker); tracker != "" {
				tier = append(tier, tracker)
			}
		}
		tiers = append(tiers, tier)
	}
	return tiers
}

// torrentPath returns where the .torrent file of a path is to go, "" for standard output.
// What is there must not be lost: only a .torrent file is written over.
func (a *app) torrentPath(path string, f *createFlags) (string, error) {
	if f.out == "-" {
		return "", nil
	}
	out := f.out
	if status, err := os.Stat(out); out == "" || err == nil && status.IsDir() {
		name, err := meta.TorrentName(path, f.options.Name)
		if err != nil {
			return "", err
		}
		out = filepath.Join(out, name)
	}
	status, err := os.Stat(out)
	if err != nil || !status.Mode().IsRegular() || status.Size() == 0 {
		return out, nil
	}
	if source, err := os.Stat(path); err == nil && os.SameFile(source, status) {
		return "", usagef("%s is what the torrent is to be of; name another file with -o", out)
	}
	if !isTorrent(out) {
		return "", usagef("%s is there already and is no .torrent file; it is not written over. Name another file with -o", out)
	}
	return out, nil
}

func isTorrent(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, meta.MaxTorrentSize))
	if err != nil {
		return false
	}
	_, err = meta.ParseTorrent(content)
	return err == nil || errors.Is(err, meta.ErrV2Only)
}

// writeWhole writes a file so that there is never half of it. What is no file, such as a
// pipe, is written to as it is.
func writeWhole(path string, content []byte) error {
	if status, err := os.Stat(path); err == nil && !status.Mode().IsRegular() {
		return writeInto(path, content)
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays, and what it leads to is replaced
	}
	// The name owes nothing to that of the file, which may be as long as names can be.
	file, err := os.CreateTemp(filepath.Dir(path), meta.TemporaryPattern)
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("cannot write %s: there is no folder %s", path, filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	_, err = file.Write(content)
	const readable = 0o644 // CreateTemp lets nobody else read
	err = errors.Join(err, file.Chmod(readable), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

func writeInto(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = file.Write(content)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}
