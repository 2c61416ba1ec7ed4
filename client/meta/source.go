package meta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Source says which torrent is meant: either Torrent or Magnet is set.
type Source struct {
	Torrent *Torrent
	Magnet  *Magnet

	// Warnings are what was left out because it cannot be used, each a line for the
	// person who gave the source.
	Warnings []string
}

// InfoHash is the v1 infohash of the source.
func (s *Source) InfoHash() [20]byte {
	if s.Torrent != nil {
		return s.Torrent.Info.InfoHash
	}
	return s.Magnet.InfoHash
}

// Nodes are DHT nodes that a .torrent file names (BEP 5), as host:port each. They are the
// word of whoever made the torrent, not of the person who gave it.
func (s *Source) Nodes() []string {
	if s.Torrent != nil {
		return s.Torrent.Nodes
	}
	return nil
}

// Peers are those that a magnet link names ("x.pe"), as host:port each. They are the
// word of whoever made the link, not of the person who gave it.
func (s *Source) Peers() []string {
	if s.Magnet != nil {
		return s.Magnet.Peers
	}
	return nil
}

// UsageError is a source or a list of files that cannot be read or understood:
// the person who gave it has to change it. Failures of the network are not.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

func usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// Loader reads sources. Its zero value has no standard input and uses the net package.
type Loader struct {
	Stdin   io.Reader // for "-"
	Network Network   // may be nil
}

// Load is Loader.Load for one source, through the net package.
func Load(ctx context.Context, arg string, stdin io.Reader) (*Source, error) {
	l := Loader{Stdin: stdin}
	return l.Load(ctx, arg)
}

// Load reads a source: a magnet link, an infohash (40 hexadecimal or 32 base32
// digits, or a v2 multihash), an http, https or file URL, a path, or "-" for standard
// input. What these lead to is a .torrent file or a magnet link, gzipped or not. An
// infohash gives a bare Magnet. Blanks and line ends around arg do not matter. Errors
// about the source itself are UsageErrors.
func (l *Loader) Load(ctx context.Context, arg string) (*Source, error) {
	if trimmed := strings.TrimSpace(arg); trimmed != arg {
		if _, err := os.Lstat(arg); err != nil { // it is not a file of that very name
			arg = trimmed
		}
	}
	scheme, _, _ := strings.Cut(strings.ToLower(arg[:min(len(arg), len("https://"))]), ":")
	switch {
	case arg == "":
		return nil, usagef("the source is empty; give a magnet link, a .torrent file, its URL or an infohash")
	case arg == "-":
		return loadReader(l.Stdin, "standard input", false)
	case scheme == "magnet":
		return loadMagnet(arg)
	case scheme == "http", scheme == "https":
		return l.loadURL(ctx, arg)
	case scheme == "file":
		path, err := pathOfURL(arg)
		if err != nil {
			return nil, err
		}
		arg = path
	}
	return loadFile(arg)
}

func loadMagnet(link string) (*Source, error) {
	magnet, warnings, err := parseMagnet(link)
	if err != nil {
		return nil, &UsageError{err}
	}
	return &Source{Magnet: magnet, Warnings: warnings}, nil
}

// pathOfURL returns the path that a file URL names (RFC 8089).
func pathOfURL(address string) (string, error) {
	u, err := url.Parse(strings.ReplaceAll(address, " ", "%20"))
	if err != nil || u.Host != "" && !strings.EqualFold(u.Host, "localhost") {
		return "", usagef("%s is not the URL of a file on this computer", quoteShort(address))
	}
	path := u.Path
	if path == "" { // file:name
		if path, err = url.PathUnescape(u.Opaque); err != nil || path == "" {
			return "", usagef("%s is not the URL of a file on this computer", quoteShort(address))
		}
	}
	if runtime.GOOS == "windows" && len(path) > 2 && path[0] == '/' && path[2] == ':' {
		path = path[1:]
	}
	return filepath.FromSlash(path), nil
}

func loadFile(path string) (*Source, error) {
	file, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return loadInfoHash(path)
		}
		return nil, usagef("cannot read the torrent: %w", err)
	}
	defer file.Close()
	if status, err := file.Stat(); err == nil {
		switch {
		case status.IsDir():
			return nil, usagef("%s is a folder, not a .torrent file; `causeway seed` shares folders", path)
		}
	}
	return loadReader(file, path, true)
}

// loadInfoHash reads arg, which is no file, as an infohash.
func loadInfoHash(arg string) (*Source, error) {
	if hash, err := parseInfoHash(arg); err == nil {
		return &Source{Magnet: &Magnet{InfoHash: hash}}, nil
	}
	if _, err := parseMultihash(strings.ToLower(arg)); err == nil {
		return nil, &UsageError{ErrV2Only}
	}
	return nil, usagef("%s is no file, magnet link, http(s) URL or infohash (40 hexadecimal or 32 base32 digits)", quoteShort(arg))
}

// loadReader reads a source; local is whether it is a file of the user's.
func loadReader(r io.Reader, name string, local bool) (*Source, error) {
	if r == nil {
		return nil, usagef("cannot read a torrent from %s: there is none", name)
	}
	b, err := io.ReadAll(io.LimitReader(r, MaxTorrentSize+1))
	if err != nil {
		return nil, usagef("cannot read a torrent from %s: %w", name, err)
	}
	return parseContent(b, name, local)
}
