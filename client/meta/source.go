package meta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	fetchTimeout = 30 * time.Second // for a .torrent file over HTTP, in all
	maxRedirects = 5
)

// Source says which torrent is meant: exactly one of its fields is set.
type Source struct {
	Torrent *Torrent
	Magnet  *Magnet
}

// InfoHash is the v1 infohash of the source.
func (s *Source) InfoHash() [20]byte {
	if s.Torrent != nil {
		return s.Torrent.Info.InfoHash
	}
	return s.Magnet.InfoHash
}

// UsageError is a source or a list of files that cannot be read or understood:
// the person who gave it has to change it. Failures of the network are not.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

func usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// Load reads a source: a magnet link, an infohash (40 hexadecimal or 32 base32
// digits, or a v2 multihash), an http or https URL of a .torrent file, a path of
// one, or "-" for one on stdin. An infohash gives a bare Magnet. Errors about
// the source itself are UsageErrors.
func Load(ctx context.Context, arg string, stdin io.Reader) (*Source, error) {
	lower := strings.ToLower(arg)
	switch {
	case strings.HasPrefix(lower, "magnet:"):
		magnet, err := ParseMagnet(arg)
		if err != nil {
			return nil, &UsageError{err}
		}
		return &Source{Magnet: magnet}, nil
	case strings.HasPrefix(lower, "http://"), strings.HasPrefix(lower, "https://"):
		return loadURL(ctx, arg)
	case arg == "-":
		return loadReader(stdin, "standard input", false)
	case arg == "":
		return nil, usagef("the source is empty; give a magnet link, a .torrent file, its URL or an infohash")
	}
	file, err := os.Open(arg)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return loadInfoHash(arg)
		}
		return nil, usagef("cannot read the torrent: %w", err)
	}
	defer file.Close()
	if status, err := file.Stat(); err == nil && status.IsDir() {
		return nil, usagef("%s is a folder, not a .torrent file; `causeway seed` shares folders", arg)
	}
	return loadReader(file, arg, true)
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

// loadReader reads a torrent; local is whether it is a file of the user's.
func loadReader(r io.Reader, name string, local bool) (*Source, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxTorrentSize+1))
	if err != nil {
		return nil, usagef("cannot read a torrent from %s: %w", name, err)
	}
	torrent, err := ParseTorrent(b)
	if err != nil {
		return nil, &UsageError{notTorrent(name, b, local, err)}
	}
	return &Source{Torrent: torrent}, nil
}

func loadURL(ctx context.Context, address string) (*Source, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return nil, usagef("%s is not a valid URL", quoteShort(address))
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	body, err := fetch(ctx, u)
	if err != nil {
		return nil, fetchFailed(u, err)
	}
	torrent, err := ParseTorrent(body)
	if err != nil {
		return nil, &UsageError{notTorrent(u.Redacted(), body, false, err)}
	}
	return &Source{Torrent: torrent}, nil
}

func fetch(ctx context.Context, u *url.URL) ([]byte, error) {
	client := http.Client{
		Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			DisableKeepAlives: true, // one request; nothing is left running
		},
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("it redirects more than %d times", maxRedirects)
			}
			return nil
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "causeway")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch code := response.StatusCode; {
	case code >= 400 && code < 500:
		return nil, usagef("%s answers %s; check the URL", u.Redacted(), response.Status)
	case code != http.StatusOK:
		return nil, fmt.Errorf("%s answers %s; try again later", u.Redacted(), response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxTorrentSize+1))
	if err != nil {
		return nil, err
	}
	return body, nil
}

func looksLikeHTML(body []byte) bool {
	start := bytes.ToLower(bytes.TrimSpace(body[:min(len(body), 512)]))
	for _, prefix := range []string{"<!doctype html", "<html", "<head", "<body", "<!--", "<?xml"} {
		if bytes.HasPrefix(start, []byte(prefix)) {
			return true
		}
	}
	return false
}
