package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/mount"
	"github.com/causeway-bt/causeway/stream/access"
)

// Bounds of WebDAV clients: for what they want, between requests, and in bytes.
const (
	headerTimeout = 20 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
)

type mountFlags struct {
	engine        engineFlags
	selection     listFlag
	folders       bool
	out           string
	overwrite     bool
	cache         byteSize
	timeout       time.Duration
	allowOther    bool
	noPassthrough bool
	webdav, token string
	hosts         []string
	dir           string // "": WebDAV alone
}

func (f *mountFlags) add(flags *pflag.FlagSet) {
	group(flags, groupContent, func() {
		flags.Var(&f.selection, "select", "`LIST` of files to show: 0,3-7, globs, folders with a slash at the end (repeatable, default all)")
	})
	group(flags, groupStorage, func() {
		addOut(flags, &f.out)
		addOverwrite(flags, &f.overwrite)
		flags.Var(&f.cache, "cache", "keep at most `SIZE` bytes on disk, as 500M (some MiB at the least), and nothing at the end; what was read makes room")
	})
	group(flags, groupMount, func() {
		flags.BoolVar(&f.folders, "folders", false, "give a single torrent a folder of its own, too")
		flags.DurationVar(&f.timeout, "timeout", mount.DefaultTimeout, "fail a read of which no peer has sent anything for so long, as `TIME` such as 30s")
		flags.BoolVar(&f.allowOther, "allow-other", false, "let other users read, too")
		flags.BoolVar(&f.noPassthrough, "no-passthrough", false, "never leave the reading of finished files to the kernel, as root may")
	})
	group(flags, groupHTTP, func() {
		flags.StringVar(&f.webdav, "webdav", "", "serve by WebDAV on `HOST:PORT`; without a folder, by nothing else")
		flags.StringVar(&f.token, "token", "", "let in only who knows this `SECRET`; an address that other machines can reach needs one")
		flags.StringArrayVar(&f.hosts, "allow-host", nil, "answer requests for this `NAME` of this machine too (repeatable)")
	})
	f.engine.add(flags)
}

func (a *app) mountCommand() *cobra.Command {
	var f mountFlags
	cmd := &cobra.Command{
		Use:        "mount SOURCE... DIR",
		SuggestFor: []string{"fuse", "webdav", "fs"},
		Short:      "Show torrents as a folder",
		Long: `Show the files of torrents in the folder DIR, as if they were there. What programs
read of them is downloaded first, and nothing else; it is kept in the folder of --out.
A torrent's files are in DIR itself; of several torrents, each has a folder there, which
comes when its metadata is known. Nothing can be written.

DIR is an empty folder, on Linux and on macOS (with macFUSE). --webdav serves the same
over HTTP, for systems without FUSE and for other devices, beside DIR or instead of it;
--token is the password, with any name. --cache is for each torrent.

It runs until it is interrupted or DIR is unmounted, and unmounts DIR at its end. What a
killed run has left is taken away by the next one.`,
		Example: `  causeway mount film.torrent Film
  causeway mount *.torrent 'magnet:?xt=urn:btih:...' Torrents -o /var/tmp
  causeway mount album.torrent --webdav 127.0.0.1:8080`,
		Args: arguments(1, -1, "a magnet link, .torrent file, URL or infohash, and a folder"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return completeSource(-1)(cmd, args, toComplete)
			}
			return completeAnyFile(cmd, args, toComplete)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.mount(cmd.Context(), args, &f)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

// check finds what is wrong with the command line, before anything is started. It returns
// the sources.
func (f *mountFlags) check(args []string) ([]string, error) {
	if err := f.engine.check(); err != nil {
		return nil, err
	}
	if err := checkOut(f.out); err != nil {
		return nil, err
	}
	if f.timeout <= 0 {
		return nil, usagef("--timeout must be more than nothing, such as 60s, not %v", f.timeout)
	}
	if f.webdav != "" {
		_, port, err := net.SplitHostPort(f.webdav)
		if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
			return nil, usagef("--webdav needs HOST:PORT, such as %s, not %q", defaultHTTP, f.webdav)
		}
	}
	last := args[len(args)-1]
	status, err := os.Stat(last)
	if f.webdav == "" || err == nil && status.IsDir() || errors.Is(err, syscall.ENOTCONN) {
		f.dir, args = last, args[:len(args)-1]
		switch {
		case errors.Is(err, os.ErrNotExist) && f.webdav == "":
			return nil, usagef("there is no folder %q to mount on; the last argument is the folder (or use --webdav)", last)
		case err == nil && !status.IsDir():
			return nil, usagef("%q is no folder to mount on; the last argument is the folder (or use --webdav)", last)
		}
	}
	if len(args) == 0 {
		return nil, usagef("`causeway mount` needs a source and the folder to mount on; see `causeway mount --help`")
	}
	return args, f.checkPlace(f.out)
}

// checkPlace refuses to keep data in the folder that is mounted on: it would be hidden.
func (f *mountFlags) checkPlace(data string) error {
	if f.dir == "" {
		return nil
	}
	inside, err := filepath.Rel(realPath(f.dir), realPath(data))
	if err == nil && filepath.IsLocal(inside) {
		return usagef("the data would be kept in %s, which is hidden by what is mounted on %s; name another folder with --out", data, f.dir)
	}
	return nil
}

// realPath is a path without symbolic links, as far as it is there.
func realPath(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(realPath(parent), filepath.Base(path))
}

// mounting is a run of the mount command.
type mounting struct {
	*session
	flags   *mountFlags
	fs      *mount.FS
	mounted *mount.Mounted // nil: not, or by WebDAV alone
	server  *http.Server   // of WebDAV, or nil
	work    sync.WaitGroup
}

// errUnmounted ends the session when somebody has unmounted the folder.
var errUnmounted = errors.New("unmounted")

func (a *app) mount(ctx context.Context, args []string, f *mountFlags) error {
	sources, err := f.check(args)
	if err != nil {
		return err
	}
	loaded, err := a.loadAll(ctx, sources, f.engine.listen)
	if err != nil {
		return err
	}
	for _, src := range loaded {
		if src.Torrent == nil {
			continue
		}
		if err := f.checkPlace(filepath.Join(f.out, src.Torrent.Info.Name)); err != nil {
			return err
		}
	}
	m := &mounting{flags: f, fs: mount.New(mount.Config{
		Folders: f.folders || len(sources) > 1, Timeout: f.timeout, Logger: a.logger(),
	})}
	listener, err := m.listen(ctx, a)
	if err != nil {
		return err
	}
	if listener != nil {
		defer listener.Close()
	}
	if m.session, err = a.open(&f.engine); err != nil {
		return err
	}
	m.discards = f.cache > 0
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if err = m.start(running, stop, loaded, listener); err == nil {
		m.onComplete = func(*task) {}
		err = m.show(running, true)
	}
	stop(err)
	return m.finish(err)
}

// listen opens the port of WebDAV, if that is wanted.
func (m *mounting) listen(ctx context.Context, a *app) (net.Listener, error) {
	f := m.flags
	if f.webdav == "" {
		return nil, nil
	}
	way, err := a.network(f.engine.listen)
	if err != nil {
		return nil, err
	}
	listener, err := access.Listen(ctx, way, f.webdav, f.token)
	if errors.Is(err, access.ErrTokenNeeded) {
		return nil, usagef("--webdav %s can be reached from other machines, and whoever finds it could read everything; add --token SECRET, or serve on %s", f.webdav, defaultHTTP)
	}
	return listener, err
}

// start adds the torrents, and shows those whose metadata is known.
func (m *mounting) start(ctx context.Context, stop context.CancelCauseFunc, loaded []*meta.Source, listener net.Listener) error {
	for _, src := range loaded {
		f := m.flags
		torrent, err := m.engine.Add(src, client.TorrentOptions{
			Dir: f.out, Select: string(f.selection), Cache: int64(f.cache), OnDemand: true, Overwrite: f.overwrite,
			Peers: f.engine.peers, Trackers: f.engine.trackerList(),
		})
		if err != nil {
			return err
		}
		m.session.add(torrent)
		var created time.Time
		if src.Torrent != nil {
			created = src.Torrent.Created
		}
		if torrent.Info() != nil {
			if err := m.fs.Add(newMountView(torrent, created)); err != nil {
				return err
			}
			continue
		}
		m.work.Go(func() {
			select {
			case <-torrent.GotInfo():
				if err := m.flags.checkPlace(filepath.Join(m.flags.out, torrent.Info().Name)); err != nil {
					stop(err)
					return
				}
				if err := m.fs.Add(newMountView(torrent, created)); err != nil {
					m.app.warn("", err.Error())
				}
			case <-ctx.Done():
			}
		})
	}
	if listener != nil {
		m.serve(listener)
	}
	if m.flags.dir == "" {
		return nil
	}
	return m.mountDir(stop)
}

// mountDir mounts on the folder, and ends the session when that is over.
func (m *mounting) mountDir(stop context.CancelCauseFunc) error {
	mounted, err := m.fs.Mount(m.flags.dir, mount.Options{AllowOther: m.flags.allowOther, NoPassthrough: m.flags.noPassthrough})
	if errors.Is(err, mount.ErrNoFUSE) {
		return usagef("nothing can be mounted here: %v; serve by WebDAV with --webdav %s, and no folder", err, defaultHTTP)
	}
	if err != nil {
		return err
	}
	m.mounted = mounted
	cleanUp := func() { _, _ = mounted.Unmount() } // nobody waits to be told
	m.app.cleanUp.Store(&cleanUp)
	go func() {
		<-mounted.Done()
		stop(errUnmounted)
	}()
	m.app.event("mounted", mountedEvent{mounted.Dir(), mounted.Passthrough()})
	m.app.line("mounted on %s", mounted.Dir())
	return nil
}

// serve serves by WebDAV.
func (m *mounting) serve(listener net.Listener) {
	guard := access.New(listener.Addr(), m.flags.token, m.flags.hosts...)
	guard.AllowBasic()
	m.server = &http.Server{
		Handler: guard.Wrap(m.fs.WebDAV()), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(m.app.logger().Handler(), slog.LevelDebug),
	}
	url := fmt.Sprintf("http://%s/", reachableHere(listener.Addr()))
	m.app.event("serving", webdavEvent{url})
	m.app.result(url)
	m.work.Go(func() {
		if err := m.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			m.app.warn("", "the WebDAV server ended: "+err.Error())
		}
	})
}

// reachableHere is where this machine reaches a listener: one on all addresses at loopback.
func reachableHere(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	return addr.String()
}

// finish unmounts and closes everything. It returns err, unless that is just the end, and
// what went wrong since.
func (m *mounting) finish(err error) error {
	if errors.Is(err, errUnmounted) {
		m.app.line("%s was unmounted", m.mounted.Dir())
		err = nil
	}
	if m.mounted != nil {
		busy, unmountErr := m.mounted.Unmount()
		if busy {
			m.app.warn("", fmt.Sprintf("files in %s are still open, or it is mounted elsewhere, too; it is unmounted all the same, and nothing can be read any more", m.mounted.Dir()))
		}
		err = errors.Join(err, unmountErr)
	}
	if m.server != nil {
		err = errors.Join(err, m.server.Close())
	}
	m.fs.Close()
	err = m.session.close(err)
	m.work.Wait()
	return err
}

// mountedEvent says where torrents are mounted, and whether the kernel reads finished files
// by itself.
type mountedEvent struct {
	Path        string `json:"path"`
	Passthrough bool   `json:"passthrough"`
}

// webdavEvent says where WebDAV is served.
type webdavEvent struct {
	URL string `json:"url"`
}

// mountView shows package mount a torrent of the engine.
type mountView struct {
	torrent  *client.Torrent
	info     *meta.Info
	hash     string
	created  time.Time
	selected []bool
}

func newMountView(torrent *client.Torrent, created time.Time) *mountView {
	infoHash := torrent.InfoHash()
	return &mountView{torrent, torrent.Info(), fmt.Sprintf("%x", infoHash), created, slices.Clone(torrent.Selected())}
}

func (v *mountView) InfoHash() string   { return v.hash }
func (v *mountView) Name() string       { return v.info.Name }
func (v *mountView) Created() time.Time { return v.created }
func (v *mountView) PieceLength() int64 { return v.info.PieceLength }
func (v *mountView) NumFiles() int      { return len(v.info.Files) }
func (v *mountView) Rate() float64      { return v.torrent.Stats().DownRate }

func (v *mountView) File(i int) mount.File {
	file := &v.info.Files[i]
	return mount.File{
		Path: file.Path, Length: file.Length, Hidden: file.Pad || !v.selected[i],
		Executable: file.Executable, Link: v.info.Links[i],
	}
}

func (v *mountView) Open(ctx context.Context, i int) (mount.Reader, error) {
	return v.torrent.OpenFile(ctx, i)
}

func (v *mountView) Completed(i int) int64 {
	if i < 0 {
		return v.torrent.Stats().Completed
	}
	return v.torrent.CompletedOf(i)
}

func (v *mountView) Arrived(i int, off int64) int { return v.torrent.Arrived(i, off) }
