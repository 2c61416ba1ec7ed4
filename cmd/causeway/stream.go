package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/stream"
	"github.com/causeway-bt/causeway/stream/player"
	"github.com/causeway-bt/causeway/web"
)

type streamFlags struct {
	engine     engineFlags
	http       httpFlags
	play       playFlags
	out        string
	file       string
	list       bool
	playlist   bool
	onDone     string
	onExit     string
	remove     bool
	overwrite  bool
	cache      byteSize
	doneHook   *hook
	exitHook   *hook
	wantStdout bool
}

func (f *streamFlags) add(flags *pflag.FlagSet) {
	group(flags, groupContent, func() {
		flags.StringVar(&f.file, "file", "", "play this file: its `INDEX`, or a glob (default the largest that can be played)")
		flags.BoolVar(&f.playlist, "playlist", false, "play all audio and video files, in order")
		flags.BoolVar(&f.list, "list", false, "list the files, and play nothing")
	})
	group(flags, groupStorage, func() {
		addOut(flags, &f.out)
		addOverwrite(flags, &f.overwrite)
		flags.BoolVar(&f.remove, "remove", false, "delete what was downloaded, however the command ends")
		flags.Var(&f.cache, "cache", "keep at most `SIZE` bytes on disk, as 500M (some MiB at the least), and nothing at the end; what was read makes room")
	})
	group(flags, groupPlay, func() {
		f.play.add(flags)
		flags.BoolVar(&f.wantStdout, "stdout", false, "write the file to standard output")
		flags.StringVar(&f.onDone, "on-done", "", "run `COMMAND` when the file is there, without a shell")
		flags.StringVar(&f.onExit, "on-exit", "", "run `COMMAND` at the end, without a shell")
	})
	group(flags, groupHTTP, func() { f.http.add(flags) })
	f.engine.add(flags)
}

func (a *app) streamCommand() *cobra.Command {
	var f streamFlags
	cmd := &cobra.Command{
		Use:        "stream SOURCE",
		SuggestFor: []string{"play", "watch"},
		Short:      "Play a torrent while it downloads",
		Long: `Download a file of a torrent in the order of play, and serve it over HTTP. The
URL is printed first; any player opens it. As long as the metadata of a magnet
link is not there, that is the URL of the torrent's playlist, which is answered
with status 503 until then. With --player, one is started, and the command ends
with it.

Hooks find what it is about in the environment: CAUSEWAY_HOOK_EVENT (done or
exit), CAUSEWAY_HOOK_NAME, CAUSEWAY_HOOK_FILE, CAUSEWAY_HOOK_PATH,
CAUSEWAY_HOOK_URL and CAUSEWAY_HOOK_INFOHASH. FILE and PATH are empty if the
metadata never came.`,
		Example: `  causeway stream 'magnet:?xt=urn:btih:...' --player mpv
  causeway stream album.torrent --playlist --player vlc --remove
  causeway stream film.torrent --stdout | ffprobe -`,
		Args:              arguments(1, 1, "one magnet link, .torrent file, URL or infohash"),
		ValidArgsFunction: completeSource(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.stream(cmd.Context(), args[0], &f)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

// check finds what is wrong with the flags, before anything is started.
func (f *streamFlags) check(a *app) error {
	if err := f.engine.check(); err != nil {
		return err
	}
	if err := checkOut(f.out); err != nil {
		return err
	}
	switch {
	case f.playlist && f.file != "":
		return usagef("--playlist plays all files and --file one; choose either")
	case f.wantStdout && f.playlist:
		return usagef("--stdout takes one file, not a --playlist")
	case f.wantStdout && f.play.player != "":
		return usagef("--stdout and --player exclude each other; to play standard output, pipe it to the player")
	case f.wantStdout && a.json:
		return usagef("--stdout and --json both want standard output; choose either")
	}
	if out, ok := a.stdout.(*os.File); ok && f.wantStdout && !f.list && term.IsTerminal(int(out.Fd())) {
		return usagef("--stdout would write the file to the terminal; pipe it to a program or a file")
	}
	if err := f.play.check(); err != nil {
		return err
	}
	var err error
	if f.doneHook, err = parseHook("--on-done", f.onDone); err != nil {
		return err
	}
	if f.exitHook, err = parseHook("--on-exit", f.onExit); err != nil {
		return err
	}
	if f.cache > 0 && f.onDone != "" {
		return usagef("with --cache the file is never all there, so --on-done would not run; leave one of them out")
	}
	return f.http.check()
}

// streaming is a run of the stream command.
type streaming struct {
	*session
	flags    *streamFlags
	listener net.Listener
	data     io.Writer // takes the file, with --stdout

	torrent *client.Torrent
	view    *torrentView
	choice  choice
	server  *stream.Server
	served  atomic.Pointer[torrentView] // view, as the server sees it
	links   stream.Links
	remover *remover
	player  atomic.Pointer[player.Command] // that runs

	work sync.WaitGroup // the HTTP server, the player, hooks
}

func (a *app) stream(ctx context.Context, source string, f *streamFlags) error {
	if err := f.check(a); err != nil {
		return err
	}
	src, err := a.load(ctx, source, f.engine.listen)
	if err != nil {
		return err
	}
	if f.list {
		return a.listStreams(ctx, src, f)
	}
	st := &streaming{flags: f, data: a.stdout}
	if f.wantStdout {
		a.printer.out = a.stderr
		ignoreBrokenPipes()
	}
	way, err := a.network(f.engine.listen)
	if err != nil {
		return err
	}
	if st.listener, err = f.http.listen(ctx, way); err != nil {
		return err
	}
	defer st.listener.Close()
	if st.session, err = a.open(&f.engine); err != nil {
		return err
	}
	st.discards = f.remove || f.cache > 0
	err = st.start(ctx, src)
	if err == nil {
		err = st.run(ctx)
	}
	return st.finish(err)
}

// start adds the torrent with the files to be played, and serves them.
func (st *streaming) start(ctx context.Context, src *meta.Source) error {
	options := client.TorrentOptions{
		Dir: st.flags.out, Sequential: true, Cache: int64(st.flags.cache), Overwrite: st.flags.overwrite,
		Peers: st.flags.engine.peers, Trackers: st.flags.engine.trackerList(),
	}
	preset := ""
	if src.Magnet != nil {
		preset = src.Magnet.Select
		options.LinkPeers = src.Magnet.Peers
		// Which files are wanted is only known with the info dictionary.
		torrent, err := st.fetchInfo(ctx, src, options, st.serveEarly)
		if err != nil {
			return err
		}
		src = &meta.Source{Torrent: torrent}
	}
	info := src.Torrent.Info
	var err error
	if st.choice, err = choose(info, st.flags, preset); err != nil {
		return err
	}
	options.Select = st.choice.selection()
	if st.flags.remove || st.flags.cache > 0 {
		files := st.choice.all()
		if st.flags.cache > 0 { // which goes into one file of the engine's own
			files = nil
		}
		if st.remover, err = newRemover(info, options.Dir, files); err != nil {
			return err
		}
	}
	abandon := st.abandon
	st.app.cleanUp.Store(&abandon)
	if st.torrent, err = st.engine.Add(src, options); err != nil {
		return err
	}
	for _, file := range st.choice.first() {
		st.torrent.Prefetch(file)
	}
	if st.remover != nil {
		st.work.Go(func() { st.remover.look(ctx, st.torrent) })
	}
	st.serve(st.torrent)
	st.announce()
	return nil
}

// serveEarly serves a magnet link's torrent of which nothing more is known: that it is
// being fetched.
func (st *streaming) serveEarly(torrent *client.Torrent) {
	if torrent.Info() != nil {
		return
	}
	st.serve(torrent)
	playlist := st.links.Playlist(st.view)
	st.app.event("fetching", fetchingEvent{st.view.InfoHash(), playlist})
	st.app.result(playlist)
}

// serve has the HTTP server serve a torrent, and starts it if it does not run.
func (st *streaming) serve(torrent *client.Torrent) {
	st.view = newTorrentView(torrent)
	st.served.Store(st.view)
	if st.server != nil {
		return
	}
	st.server = stream.New(stream.Config{
		Torrents: func() []stream.Torrent {
			if view := st.served.Load(); view.known() {
				return []stream.Torrent{view}
			}
			return nil
		},
		Pending: func(infohash string) bool {
			view := st.served.Load()
			return !view.known() && infohash == view.InfoHash()
		},
		Listen: st.listener.Addr(), Hosts: st.flags.http.hosts, Token: st.flags.http.token, Origins: st.flags.http.allowed,
		Style:  web.StyleSheet(),
		Logger: st.app.logger(),
	})
	st.links = st.server.Links(st.listener.Addr())
	st.work.Go(func() {
		if err := st.server.Serve(st.listener); err != nil {
			st.app.warn(st.served.Load().InfoHash(), "the HTTP server ended: "+err.Error())
		}
	})
}

// url is what to open: of the file, or the playlist.
func (st *streaming) url() string {
	if st.flags.playlist || !st.view.known() {
		return st.links.Playlist(st.view)
	}
	return st.links.File(st.view, st.choice.files[0])
}

// announce tells the URLs of what is served.
func (st *streaming) announce() {
	a := st.app
	playlist := st.links.Playlist(st.view)
	for _, i := range st.choice.files {
		event := servingEvent{
			InfoHash: st.view.InfoHash(), File: st.view.files[i].Path(), URL: st.links.File(st.view, i),
			Index: i, Length: st.view.files[i].Length(), Path: st.view.files[i].disk, Playlist: playlist,
		}
		for _, sub := range st.choice.subtitles[i] {
			event.Subtitles = append(event.Subtitles, st.links.Subtitle(st.view, sub))
		}
		a.event("serving", event)
	}
	a.result(st.url())
	if !st.flags.playlist {
		a.line("playlist: %s", playlist)
	}
	a.line("all files: %s", st.links.Torrent(st.view))
	for _, link := range st.flags.http.elsewhere(st.server, st.listener.Addr(), st.view) {
		a.line("from other devices: %s", link)
	}
}

// errPlayed ends the session when the player has ended, or all has been written.
var errPlayed = errors.New("played")

// run plays until the end, and returns why it ended.
func (st *streaming) run(ctx context.Context) error {
	playing, stop := context.WithCancelCause(ctx)
	st.onComplete = func(t *task) {
		if t.done && st.flags.doneHook != nil {
			st.work.Go(func() { st.runHook(st.flags.doneHook, "done") })
		}
	}
	st.status = st.playback
	st.session.add(st.torrent)
	st.work.Go(func() { st.play(playing, stop) })
	err := st.show(playing, true)
	stop(err)
	return err
}

// finish closes everything and cleans up. It returns err, unless that is just the end
// of what was played, and what went wrong since.
func (st *streaming) finish(err error) error {
	if st.server == nil { // it has not begun
		return st.session.close(err)
	}
	if closeErr := st.server.Close(); closeErr != nil {
		st.app.warn(st.view.InfoHash(), closeErr.Error())
	}
	err = st.session.close(err)
	st.work.Wait()
	if st.flags.exitHook != nil {
		st.runHook(st.flags.exitHook, "exit")
	}
	if st.remover != nil {
		if removeErr := st.remover.remove(st.torrent); removeErr != nil {
			err = errors.Join(err, removeErr)
		}
	} else if errors.Is(err, errInterrupted) && untold(err) == nil && !st.discards {
		st.app.line("stopped; the same command continues where it was")
	}
	if errors.Is(err, errPlayed) {
		return nil
	}
	return err
}

// abandon leaves nothing behind when the process is about to end at once.
func (st *streaming) abandon() {
	if command := st.player.Load(); command != nil {
		command.Kill()
	}
	if st.remover != nil {
		_ = st.remover.remove(st.torrent) // nobody waits to be told
	}
}

// contentPath is where a torrent's own file or folder is.
func contentPath(torrent *client.Torrent) string {
	return filepath.Join(torrent.Dir(), torrent.Info().Name)
}
