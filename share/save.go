package share

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"

	"github.com/causeway-bt/causeway/web"
)

// takeTorrent begins to fetch what a page seeds.
func (r *Receiver) takeTorrent(w http.ResponseWriter, req *http.Request) (web.Receiving, error) {
	body, err := readSmall(w, req, maxTorrent)
	if err != nil {
		return web.Receiving{}, err
	}
	fetch, err := r.cfg.Fetch(body)
	if err != nil {
		return web.Receiving{}, refuse(http.StatusBadRequest, "this torrent is not taken: %v", err)
	}
	bytes, files := fetch.Size()
	s, err := r.begin(req, bytes, files, fetch, nil)
	if err != nil {
		return web.Receiving{}, err
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
	names, err := r.keep(s.folder)
	if err != nil {
		s.failed(r, err)
		return
	}
	_ = r.root.Remove(s.folder) // it is empty
	s.mu.Lock()
	s.State, s.Received = web.ReceivingSaved, s.bytes
	s.mu.Unlock()
	close(s.over)
	for _, name := range names {
		r.cfg.Saved(name, s.bytes/int64(len(names)), webrtc)
	}
}

// keep moves all that is in a folder of ours into the receiver's, and returns how it is called
// there.
func (r *Receiver) keep(folder string) (names []string, err error) {
	dir, err := r.root.Open(folder)
	if err != nil {
		return nil, err
	}
	entries, err := dir.ReadDir(-1)
	if err := errors.Join(err, dir.Close()); err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if !entry.IsDir() && !entry.Type().IsRegular() {
			return names, refuse(http.StatusBadRequest, "it has something that is neither file nor folder")
		}
		name, err := r.move(folder, entry)
		if err != nil {
			return names, err
		}
		names = append(names, name)
	}
	return names, nil
}

// maxSameNames bounds how many things of one name are kept.
const maxSameNames = 10_000

// move gives an entry a name in the receiver's folder that nothing has.
func (r *Receiver) move(folder string, entry fs.DirEntry) (string, error) {
	wanted := visible(entry.Name())
	name := wanted
	for i := 2; i < maxSameNames; i++ {
		err := r.reserve(name, entry.IsDir())
		switch {
		case err == nil:
			// Whoever looks sees an empty one for a moment, and nothing is ever replaced.
			return name, errors.Join(r.root.Remove(name), r.root.Rename(path.Join(folder, entry.Name()), name))
		case !errors.Is(err, fs.ErrExist):
			return "", err
		}
		name = numbered(wanted, i)
	}
	return "", fmt.Errorf("there are too many files called %s", wanted)
}

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
