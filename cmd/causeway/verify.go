package main

import (
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/causeway-bt/causeway/client/meta"
)

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:        "verify FILE.torrent DIR",
		SuggestFor: []string{"check", "recheck", "test"},
		Short:      "Check data against a torrent",
		Long: `Check data against a torrent. DIR is the folder that holds the torrent's file or
folder, or is that itself. The exit code is 0 if all of it is right.`,
		Example: `  causeway verify holiday.torrent Downloads`,
		Args:    arguments(2, 2, "a .torrent file and the folder with its data"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return completeSource(1)(cmd, args, toComplete)
			}
			return completePath(2)(cmd, args, toComplete) // the data may be one file
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.verify(cmd, args[0], args[1])
		},
	}
}

func (a *app) verify(cmd *cobra.Command, source, folder string) error {
	src, err := a.load(cmd.Context(), source, "")
	if err != nil {
		return err
	}
	if src.Torrent == nil {
		return usagef("verify needs a .torrent file: a magnet link has no piece hashes")
	}
	if err := checkData(folder); err != nil {
		return err
	}
	info := src.Torrent.Info
	paths, found := info.Locate(folder)
	if !found {
		return usagef("the data of %q is not in %s; name the folder that holds it", info.Name, folder)
	}
	infoHash := hex.EncodeToString(info.InfoHash[:])
	meter := a.newMeter(info.Name, func(done, total int64) {
		a.event("checking", checkingEvent{infoHash, done, total})
	})
	result, err := meta.VerifyPaths(cmd.Context(), info, paths, meter.update)
	meter.end()
	if err != nil {
		return err
	}
	return a.reportVerify(info, infoHash, result)
}

// reportVerify tells what is not right; that is an error too, for the exit code.
func (a *app) reportVerify(info *meta.Info, infoHash string, result *meta.Result) error {
	event := verifiedEvent{
		InfoHash: infoHash, Complete: result.Complete(),
		Pieces: len(result.Good), GoodPieces: result.GoodPieces,
		Length: info.Length, GoodBytes: result.GoodBytes, Files: []verifiedFileEvent{},
	}
	bad := 0
	for i := range info.Files {
		file, found := &info.Files[i], &result.Files[i]
		if file.Pad {
			continue
		}
		entry := verifiedFileEvent{Index: i, Path: file.DisplayPath(), Length: file.Length, State: found.State.String(), GoodBytes: found.GoodBytes}
		detail := percentOf(found.GoodBytes, file.Length) + " right"
		if found.Err != nil {
			entry.Message = found.Err.Error()
			detail = entry.Message
		}
		event.Files = append(event.Files, entry)
		if found.State != meta.FileOK {
			bad++
			a.line("%s: %s, %s", entry.Path, entry.State, detail)
		}
	}
	a.event("verified", event)
	summary := fmt.Sprintf("%d of %d pieces are right (%s)", event.GoodPieces, event.Pieces, percentOf(event.GoodBytes, event.Length))
	if bad > 0 {
		return fmt.Errorf("%d of %d files of %q are not right; %s", bad, len(event.Files), info.Name, summary)
	}
	a.line("%s: all files are right; %s", info.Name, summary)
	return nil
}
