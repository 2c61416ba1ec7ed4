package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"github.com/causeway-bt/causeway/stream/access"
	"github.com/causeway-bt/causeway/stream/media"
)

const (
	// maxPropfind bounds the body of a PROPFIND, in bytes: a list of names of properties.
	maxPropfind = 64 << 10
	// bodyTimeout is in which that must have come.
	bodyTimeout = 10 * time.Second
	// maxListings bounds the PROPFINDs that are answered at a time: a folder may have a
	// million files.
	maxListings = 8
	// allowed is what can be done: to look (RFC 4918, class 1 without writing).
	allowed = "OPTIONS, GET, HEAD, PROPFIND"
	// fileCSP keeps what a torrent brings from acting as a page of this origin.
	fileCSP = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
	// finiteDepth is the precondition of RFC 4918 §9.1 that a PROPFIND of everything fails.
	finiteDepth = `<?xml version="1.0" encoding="utf-8"?><D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>` + "\n"
)

// WebDAV returns a handler that serves the tree by WebDAV (RFC 4918), read-only. Who may
// reach it is the guard's business that it is wrapped in (package stream/access).
func (fs *FS) WebDAV() http.Handler {
	listings := make(chan struct{}, maxListings)
	dav := &webdav.Handler{FileSystem: davFS{fs}, LockSystem: noLocks{}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", fileCSP)
		h.Set("X-Content-Type-Options", "nosniff")
		switch caller := (access.Origins{}).Caller(r); caller {
		case access.ForeignPage, access.ForeignNavigation:
			http.Error(w, "pages of other sites are not answered", http.StatusForbidden)
			return
		}
		if !plainPath(r.URL.Path) {
			http.Error(w, "this path is none of a file", http.StatusBadRequest)
			return
		}
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			if e, ok := fs.tree.find(r.URL.Path); ok && !e.isFolder() {
				h.Set("Content-Type", media.Type(e.name())) // else net/http looks into the file
			}
		case http.MethodOptions:
			h.Set("Allow", allowed)
			h.Set("DAV", "1")
			h.Set("MS-Author-Via", "DAV")
			return
		case "PROPFIND":
			if depth := r.Header.Get("Depth"); depth != "0" && depth != "1" {
				h.Set("Content-Type", "application/xml; charset=utf-8")
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, finiteDepth)
				return
			}
			// All of it comes before a place is taken: who sends slowly holds up nobody.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // net/http ends it with the request
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPropfind))
			if err != nil {
				http.Error(w, "what was sent is too long, or did not come whole", http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			select {
			case listings <- struct{}{}:
				defer func() { <-listings }()
			case <-r.Context().Done():
				return
			}
		default:
			h.Set("Allow", allowed)
			http.Error(w, "this is read-only", http.StatusMethodNotAllowed)
			return
		}
		dav.ServeHTTP(w, r)
	})
}

// plainPath reports whether a path is one that a client makes of names that it was told.
func plainPath(p string) bool {
	if !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "\x00\\") {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "." || part == ".." {
			return false
		}
	}
	return true
}

// noLocks is the locks of what nobody writes.
type noLocks struct{}

func (noLocks) Confirm(time.Time, string, string, ...webdav.Condition) (func(), error) {
	return nil, webdav.ErrConfirmationFailed
}

func (noLocks) Create(time.Time, webdav.LockDetails) (string, error) { return "", webdav.ErrLocked }

func (noLocks) Refresh(time.Time, string, time.Duration) (webdav.LockDetails, error) {
	return webdav.LockDetails{}, webdav.ErrNoSuchLock
}

func (noLocks) Unlock(time.Time, string) error { return webdav.ErrNoSuchLock }

// davFS is an FS as package webdav wants it.
type davFS struct{ fs *FS }

func (davFS) Mkdir(context.Context, string, os.FileMode) error { return os.ErrPermission }
func (davFS) RemoveAll(context.Context, string) error          { return os.ErrPermission }
func (davFS) Rename(context.Context, string, string) error     { return os.ErrPermission }

// find is tree.find through symbolic links, which WebDAV does not know: they are shown as
// what they lead to.
func (d davFS) find(name string) (davInfo, error) {
	e, ok := d.fs.tree.find(name)
	if !ok {
		return davInfo{}, os.ErrNotExist
	}
	return d.info(e), nil
}

func (d davFS) info(e entry) davInfo {
	info := davInfo{fs: d.fs, name: e.name(), entry: e}
	if target := e.target(); target != "" {
		at := entry{branch: e.branch}
		for _, name := range e.file().Link {
			at, _ = at.child(name)
		}
		if !at.isFolder() && at.target() == "" { // others are shown as empty files
			info.entry = at
		}
	}
	return info
}

func (d davFS) Stat(_ context.Context, name string) (os.FileInfo, error) {
	info, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return info, nil
}

func (d davFS) OpenFile(ctx context.Context, name string, flags int, _ os.FileMode) (webdav.File, error) {
	if flags&(os.O_WRONLY|os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND) != 0 {
		return nil, os.ErrPermission
	}
	info, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return &davFile{fs: d, ctx: ctx, info: info}, nil
}

// davInfo describes an entry.
type davInfo struct {
	fs    *FS
	name  string
	entry entry // of a symbolic link, what it leads to
}

func (i davInfo) Name() string       { return i.name }
func (i davInfo) IsDir() bool        { return i.entry.isFolder() }
func (i davInfo) ModTime() time.Time { return i.fs.tree.modified(i.entry) }
func (i davInfo) Sys() any           { return nil }
func (i davInfo) Size() int64        { return i.entry.file().Length }

func (i davInfo) Mode() fs.FileMode {
	if i.IsDir() {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// ContentType implements webdav.ContentTyper, by the name: looking into the file would
// download it.
func (i davInfo) ContentType(context.Context) (string, error) { return media.Type(i.name), nil }

// ETag implements webdav.ETager. It is strong (RFC 9110 §8.8.1): the infohash names the
// content.
func (i davInfo) ETag(context.Context) (string, error) {
	if i.IsDir() {
		return "", webdav.ErrNotImplemented
	}
	return fmt.Sprintf(`"%s-%d"`, i.entry.branch.torrent.InfoHash(), i.entry.index()), nil
}

// davFile is an entry that is open. One goroutine uses it at a time.
type davFile struct {
	fs   davFS
	ctx  context.Context
	info davInfo
	file *file // nil until the first byte is wanted: HEAD and PROPFIND never do
	pos  int64
	next int // of a folder, the entry that comes next
}

func (f *davFile) Write([]byte) (int, error)  { return 0, os.ErrPermission }
func (f *davFile) Stat() (os.FileInfo, error) { return f.info, nil }

func (f *davFile) Close() error {
	if f.file != nil {
		f.file.release()
		f.file = nil
	}
	return nil
}

func (f *davFile) Read(p []byte) (int, error) {
	if f.info.IsDir() {
		return 0, errors.New("it is a folder")
	}
	if f.file == nil {
		file, err := f.fs.fs.openFile(f.info.entry)
		if err != nil {
			return 0, err
		}
		f.file = file
		file.isWhole()
	}
	n, err := f.file.readAt(f.ctx, p, f.pos)
	f.pos += int64(n)
	return n, err
}

func (f *davFile) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.pos
	case io.SeekEnd:
		offset += f.info.Size()
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d in %s", offset, path.Base(f.info.name))
	}
	f.pos = offset
	return offset, nil
}

// Readdir is as in os.File.
func (f *davFile) Readdir(count int) (all []fs.FileInfo, err error) {
	if !f.info.IsDir() {
		return nil, errors.New("it is no folder")
	}
	for count <= 0 || len(all) < count {
		e, ok := f.fs.fs.tree.childAt(f.info.entry, f.next)
		if !ok {
			if count > 0 && len(all) == 0 {
				return nil, io.EOF
			}
			break
		}
		f.next++
		all = append(all, f.fs.info(e))
	}
	return all, nil
}
