package share

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path"
	"path/filepath"

	"github.com/causeway-bt/causeway/web"
)

// takeTorrent begins to fetch what a page seeds.
func (r *Receiver) takeTorrent(w http.ResponseWriter, req *http.Request, from netip.Prefix) (web.Receiving, error) {
	body, err := r.readSmall(w, req, maxTorrent, from)
	if err != nil {
		return web.Receiving{}, err
	}
	fetch, err := r.cfg.Fetch(body)
	if err != nil {
		return web.Receiving{}, refuse(http.StatusBadRequest, "this torrent is not taken: %v", err)
	}
	bytes, files := fetch.Size()
	s, err := r.begin(from, bytes, files, fetch, nil)
	if err != nil {
		return web.Receiving{}, err
	}
	if s.clearAfterEnd(r) {
		return web.Receiving{}, errStopped
	}
	if err := fetch.Start(filepath.Join(r.cfg.Folder, s.folder)); err != nil {
		s.fail(r, err)
		return web.Receiving{}, refuse(http.StatusConflict, "this torrent cannot be fetched: %v", err)
	}
	if !r.goFetch(s) {
		s.fail(r, errors.New("the receiver has stopped"))
	}
	return s.state(), nil
}

// goFetch waits for the end of a fetch in the background.
func (r *Receiver) goFetch(s *sending) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.wg.Go(func() {
		select {
		case <-s.over:
			return
		case <-s.fetch.Done():
		}
		if !s.end() {
			return
		}
		if err := s.fetch.Close(); err != nil {
			s.failed(r, err)
			return
		}
		s.save(r, true)
	})
	return true
}

// save puts what is all there under its name. The end of s is the caller's.
func (s *sending) save(r *Receiver, webrtc bool) {
	s.closing()
	all, err := r.keep(s.folder)
	for _, k := range all { // whatever became of the rest
		r.cfg.Saved(k.name, k.bytes, webrtc)
	}
	if err != nil {
		if len(all) > 0 {
			r.spend(s)
		}
		s.failed(r, err)
		return
	}
	_ = r.root.Remove(s.folder) // it is empty
	s.mu.Lock()
	s.State, s.Received = web.ReceivingSaved, s.bytes
	s.mu.Unlock()
	close(s.over)
}

// kept is a file or folder that was saved.
type kept struct {
	name  string // in the receiver's folder
	bytes int64
}

// keep moves all that is in a folder of ours into the receiver's, and returns what is there
// now, also when it fails. One does so at a time: no two can want the same name.
func (r *Receiver) keep(folder string) (all []kept, err error) {
	r.saving.Lock()
	defer r.saving.Unlock()
	entries, err := fs.ReadDir(r.root.FS(), folder)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if !entry.IsDir() && !entry.Type().IsRegular() {
			return all, refuse(http.StatusBadRequest, "it has something that is neither file nor folder")
		}
		bytes, err := r.prepare(path.Join(folder, entry.Name()))
		if err != nil {
			return all, err
		}
		name, err := r.move(folder, entry)
		if err != nil {
			return all, err
		}
		all = append(all, kept{name, bytes})
	}
	return all, nil
}

// prepare measures what is at a path, in bytes, and has nothing below it be hidden.
func (r *Receiver) prepare(name string) (bytes int64, err error) {
	info, err := r.root.Lstat(name)
	if err != nil {
		return 0, err
	}
	if !info.IsDir() {
		return info.Size(), nil
	}
	entries, err := fs.ReadDir(r.root.FS(), name)
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		below := path.Join(name, entry.Name())
		if shown := visible(entry.Name()); shown != entry.Name() {
			if below, err = r.moveTo(below, name, shown, entry.IsDir()); err != nil {
				return 0, err
			}
			below = path.Join(name, below)
		}
		n, err := r.prepare(below)
		if err != nil {
			return 0, err
		}
		bytes += n
	}
	return bytes, nil
}

// maxSameNames bounds how many things of one name are kept.
const maxSameNames = 10_000

// move gives an entry a name in the receiver's folder that nothing has.
func (r *Receiver) move(folder string, entry fs.DirEntry) (string, error) {
	return r.moveTo(path.Join(folder, entry.Name()), ".", visible(entry.Name()), entry.IsDir())
}

// moveTo moves something into a folder, under the wanted name or one like it that nothing has,
// and returns that. r.saving is held.
func (r *Receiver) moveTo(from, folder, wanted string, isFolder bool) (string, error) {
	name := wanted
	for i := 2; i < maxSameNames; i++ {
		to := path.Join(folder, name)
		err := r.reserve(to, isFolder)
		switch {
		case err == nil:
			// Whoever looks sees an empty one for a moment, and nothing is ever replaced. Only
			// a file takes the place of another everywhere.
			if isFolder {
				err = r.root.Remove(to)
			}
			if err = errors.Join(err, r.root.Rename(from, to)); err != nil {
				_ = r.root.Remove(to) // it is empty
			}
			return name, err
		case !errors.Is(err, fs.ErrExist):
			return "", err
		}
		name = numbered(wanted, i)
	}
	return "", fmt.Errorf("there are too many files called %s", wanted)
}

// reserve makes an empty file or folder.
func (r *Receiver) reserve(name string, folder bool) error {
	if folder {
		return r.root.Mkdir(name, 0o755)
	}
	f, err := r.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}
