package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/causeway-bt/causeway/stream/player"
)

// maxPlayerLine bounds the URLs and paths on a player's command line, in bytes;
// Windows takes 32,767 characters of all.
const maxPlayerLine = 24 << 10

// playFlags say what plays.
type playFlags struct {
	player    string
	args      string
	noQuit    bool
	subtitles string

	words []string // of args
}

func (f *playFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.player, "player", "", "play with `PLAYER`: "+strings.Join(player.Names(), ", ")+", or a command with {} for the URL")
	oneOf(flags, "player", player.Names()...)
	flags.StringVar(&f.args, "player-args", "", "further `ARGUMENTS` of the player")
	flags.BoolVar(&f.noQuit, "no-quit", false, "go on when the player has ended")
	flags.StringVar(&f.subtitles, "subtitles", "", "give the subtitles in `FILE` to the player, for the first file")
}

func (f *playFlags) check() (err error) {
	if f.words, err = player.SplitArgs(f.args); err != nil {
		return usagef("--player-args: %v", err)
	}
	if f.player != "" {
		if words, err := player.SplitArgs(f.player); err != nil || len(words) == 0 {
			return usagef("--player needs a player's name or a command, not %q", f.player)
		}
	}
	if f.subtitles == "" {
		return nil
	}
	if f.player == "" {
		return usagef("--subtitles are given to a player; name one with --player")
	}
	status, err := os.Stat(f.subtitles)
	if err != nil {
		return usagef("--subtitles: %v", err)
	}
	if !status.Mode().IsRegular() {
		return usagef("--subtitles needs a file, and %q is none", f.subtitles)
	}
	f.subtitles, err = filepath.Abs(f.subtitles)
	return err
}

// play runs the player, or writes the file to standard output, and stops the
// session then.
func (st *streaming) play(ctx context.Context, stop context.CancelCauseFunc) {
	var err error
	switch {
	case st.flags.wantStdout:
		err = st.writeData(ctx)
	case st.flags.play.player != "":
		err = st.runPlayer(ctx)
		if errors.Is(err, player.ErrNotFound) {
			// Somebody may open the URL all the same.
			st.app.warn(st.view.InfoHash(), err.Error()+"; still serving "+st.url())
			return
		}
	default:
		return
	}
	switch {
	case ctx.Err() != nil:
	case st.flags.play.noQuit:
		if err != nil {
			st.app.warn(st.view.InfoHash(), err.Error())
		}
		st.app.line("still serving, until interrupted")
	case err != nil:
		stop(err)
	default:
		stop(errPlayed)
	}
}

func (st *streaming) runPlayer(ctx context.Context) error {
	flags := &st.flags.play
	command, err := player.Find(flags.player)
	if err != nil {
		return err
	}
	command.Args = append(command.Args, flags.words...)
	command.Log = st.app.logger()
	st.app.event("player", playerEvent{Player: flags.player, State: "started"})
	st.player.Store(command)
	err = command.Run(ctx, st.media())
	event := playerEvent{Player: flags.player, State: "ended"}
	if err != nil && ctx.Err() == nil {
		event.State, event.Message = "failed", err.Error()
	}
	st.app.event("player", event)
	return err
}

// media is what the player gets: each file with its subtitles, or, where that
// would be too long, the playlist.
func (st *streaming) media() player.Media {
	m := player.Media{Title: st.torrent.Name()}
	length := 0
	for n, i := range st.choice.files {
		item := player.Item{URL: st.links.File(st.view, i)}
		if file := st.flags.play.subtitles; file != "" && n == 0 {
			item.Subtitles = append(item.Subtitles, file)
		}
		for _, sub := range st.choice.subtitles[i] {
			item.Subtitles = append(item.Subtitles, st.links.Subtitle(st.view, sub))
		}
		m.Items = append(m.Items, item)
		length += len(item.URL) + len(strings.Join(item.Subtitles, " "))
	}
	if length > maxPlayerLine {
		m.Items = []player.Item{{URL: st.url()}}
	}
	if st.flags.playlist {
		m.Title = "" // it would be that of every file
	}
	return m
}

// writeData writes the file to standard output. It reads by HTTP as a player does,
// so that the same is wanted in advance, and shown.
func (st *streaming) writeData(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, st.url(), nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableCompression: true} // and no proxy
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("reading the file: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("reading the file: %s", response.Status)
	}
	_, err = io.Copy(st.data, response.Body)
	if isReaderGone(err) {
		return nil // it has what it wanted
	}
	if err != nil {
		return fmt.Errorf("writing the file to standard output: %w", err)
	}
	return nil
}

// logger tells what packages stream and player have to say.
func (a *app) logger() *slog.Logger {
	level := slog.LevelWarn
	switch {
	case a.verbose:
		level = slog.LevelDebug
	case a.quiet || a.json:
		level = slog.LevelError
	}
	return slog.New(slog.NewTextHandler(logWriter{&a.printer}, &slog.HandlerOptions{Level: level}))
}
