package share

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/causeway-bt/causeway/web"
)

const (
	// maxDepth and maxPath bound the folders around a file that is sent, and its path in
	// bytes.
	maxDepth, maxPath = 16, 1024
	// readTimeout is for how long nothing may come of a file while it is sent.
	readTimeout = 30 * time.Second
	// copyBuffer is how much of it is read at a time.
	copyBuffer = 64 << 10
)

// upload is what comes by HTTP.
type upload struct {
	files []uploadFile // guarded by the sending, but for path and length
	ended bool
	idle  chan struct{} // closed when ended and no file is being written
}

type uploadFile struct {
	path   string // safe, in the sending's folder
	length int64
	got    int64
	busy   bool
}

// announceUpload begins an upload.
func (r *Receiver) announceUpload(w http.ResponseWriter, req *http.Request, from netip.Prefix) (web.Receiving, error) {
	body, err := r.readSmall(w, req, maxAnnouncement, from)
	if err != nil {
		return web.Receiving{}, err
	}
	var wanted web.Upload
	if err := json.Unmarshal(body, &wanted); err != nil {
		return web.Receiving{}, refuse(http.StatusBadRequest, "this says not which files are to come")
	}
	if len(wanted.Files) > r.cfg.MaxFiles {
		return web.Receiving{}, refuse(http.StatusRequestEntityTooLarge, "too many files: at most %d are taken", r.cfg.MaxFiles)
	}
	up := &upload{idle: make(chan struct{})}
	var total int64
	names := newNamer(r.cfg.SafeName)
	for _, f := range wanted.Files {
		if f.Length < 0 || f.Length > r.cfg.MaxBytes {
			return web.Receiving{}, refuse(http.StatusRequestEntityTooLarge, "too large: at most %d bytes are taken", r.cfg.MaxBytes)
		}
		total += f.Length // below MaxFiles times MaxBytes, which is checked with each
		if total > r.cfg.MaxBytes {
			return web.Receiving{}, refuse(http.StatusRequestEntityTooLarge, "too large: at most %d bytes are taken", r.cfg.MaxBytes)
		}
		safe, err := names.path(f.Name)
		if err != nil {
			return web.Receiving{}, err
		}
		up.files = append(up.files, uploadFile{path: safe, length: f.Length})
	}
	s, err := r.begin(from, total, len(up.files), nil, up)
	if err != nil {
		return web.Receiving{}, err
	}
	for _, f := range up.files {
		// They are all there from the start, so that an empty one needs no request.
		if err := r.create(s, f.path); err != nil {
			s.fail(r, err)
			s.clearAfterEnd(r)
			return web.Receiving{}, err
		}
	}
	if s.clearAfterEnd(r) {
		return web.Receiving{}, errStopped
	}
	return s.state(), nil
}

func (r *Receiver) create(s *sending, name string) error {
	full := path.Join(s.folder, name)
	if err := r.root.MkdirAll(path.Dir(full), 0o755); err != nil {
		return err
	}
	f, err := r.root.OpenFile(full, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// fileState is how much of a file is there.
func (s *sending) fileState(i int) web.Receiving {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.Receiving
	state.Received = s.upload.files[i].got
	return state
}

// take has one request write a file from an offset on.
func (s *sending) take(i int, offset int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.upload.files[i]
	switch {
	case s.ending:
		return refuse(http.StatusGone, "this is no longer being sent: %s", s.Message)
	case f.busy:
		return refuse(http.StatusConflict, "this file is being sent already")
	case offset < 0 || offset > f.got:
		return refuse(http.StatusConflict, "only %d bytes of it are there", f.got)
	}
	f.busy, f.got = true, offset
	s.puts++
	s.State = web.ReceivingComes
	return nil
}

func (s *sending) give(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upload.files[i].busy = false
	s.puts--
	s.heard = time.Now()
	if s.upload.ended && s.puts == 0 {
		close(s.upload.idle)
	}
}

// closing has no more files written.
func (s *sending) closing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.upload == nil || s.upload.ended {
		return
	}
	s.upload.ended = true
	if s.puts == 0 {
		close(s.upload.idle)
	}
}

// put takes a file from an offset on.
func (s *sending) put(r *Receiver, w http.ResponseWriter, req *http.Request, i int) (web.Receiving, error) {
	offset := int64(0)
	if text := req.URL.Query().Get("offset"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return web.Receiving{}, refuse(http.StatusBadRequest, "the offset is no number")
		}
		offset = n
	}
	f := &s.upload.files[i]
	if req.ContentLength > f.length-offset {
		return web.Receiving{}, refuse(http.StatusRequestEntityTooLarge, "that is more than was announced")
	}
	if err := s.take(i, offset); err != nil {
		return web.Receiving{}, err
	}
	err := s.write(r, w, req, f, offset)
	s.give(i)
	if err != nil && r.cfg.IsFull(err) {
		s.fail(r, err)
	}
	if err != nil {
		return web.Receiving{}, err
	}
	return s.fileState(i), nil
}

func (s *sending) write(r *Receiver, w http.ResponseWriter, req *http.Request, f *uploadFile, offset int64) (err error) {
	file, err := r.root.OpenFile(path.Join(s.folder, f.path), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	rc := http.NewResponseController(w)
	buffer := make([]byte, copyBuffer)
	for {
		now := time.Now()
		_ = rc.SetReadDeadline(now.Add(readTimeout))
		_ = rc.SetWriteDeadline(now.Add(readTimeout + answerTimeout))
		n, readErr := req.Body.Read(buffer)
		if int64(n) > f.length-offset {
			return refuse(http.StatusRequestEntityTooLarge, "that is more than was announced")
		}
		if _, err := file.WriteAt(buffer[:n], offset); err != nil {
			return err
		}
		offset += int64(n)
		if !s.came(f, offset, int64(n)) {
			return refuse(http.StatusGone, "this is no longer being sent")
		}
		switch {
		case errors.Is(readErr, io.EOF) && offset == f.length:
			return file.Sync() // the sender deletes it, perhaps
		case errors.Is(readErr, io.EOF):
			return nil
		case readErr != nil:
			return refuse(http.StatusBadRequest, "it did not come whole; go on from byte %d", offset)
		}
	}
}

// came notes progress, and reports whether more is wanted.
func (s *sending) came(f *uploadFile, offset, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.got, s.heard = offset, time.Now()
	s.Received = 0
	for i := range s.upload.files {
		s.Received += s.upload.files[i].got
	}
	return !s.ending
}

// finish saves an upload of which all is there.
func (s *sending) finish(r *Receiver) (web.Receiving, error) {
	if s.upload == nil {
		return web.Receiving{}, refuse(http.StatusConflict, "this comes over WebRTC")
	}
	s.mu.Lock()
	for _, f := range s.upload.files {
		if f.got != f.length || f.busy {
			s.mu.Unlock()
			return web.Receiving{}, refuse(http.StatusConflict, "not all of it is there")
		}
	}
	ended := s.ending
	s.ending = true
	s.mu.Unlock()
	if !ended {
		s.save(r, false)
	}
	<-s.over
	return s.state(), nil
}

// namer makes safe paths of those that a stranger chose, no two the same, on systems that
// do not tell capitals from small letters, too.
type namer struct {
	safe  func(string) (string, error)
	files map[string]bool // in lower case
	dirs  map[string]bool
}

func newNamer(safe func(string) (string, error)) *namer {
	return &namer{safe: safe, files: map[string]bool{}, dirs: map[string]bool{}}
}

// path returns a slash-separated path.
func (n *namer) path(name string) (string, error) {
	if len(name) > maxPath || strings.Count(name, "/") > maxDepth {
		return "", refuse(http.StatusBadRequest, "a name is too long, or has too many folders")
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		safe, err := n.safe(part)
		if err != nil {
			return "", refuse(http.StatusBadRequest, "a name would lead out of the folder; nothing was taken")
		}
		if safe != "" {
			parts = append(parts, visible(safe))
		}
	}
	if len(parts) == 0 {
		parts = []string{"unnamed"}
	}
	for i := range parts[:len(parts)-1] {
		dir := strings.ToLower(path.Join(parts[:i+1]...))
		if n.files[dir] {
			return "", refuse(http.StatusBadRequest, "a name is a file's and a folder's")
		}
		n.dirs[dir] = true
	}
	full := path.Join(parts...)
	for i := 2; n.files[strings.ToLower(full)] || n.dirs[strings.ToLower(full)]; i++ {
		full = path.Join(path.Join(parts[:len(parts)-1]...), numbered(parts[len(parts)-1], i))
	}
	n.files[strings.ToLower(full)] = true
	return full, nil
}

// visible has nothing be hidden, nor be what programs look for by a name with a dot.
func visible(name string) string {
	if strings.HasPrefix(name, ".") {
		return "_" + name
	}
	return name
}

// numbered makes another name of one that is taken: "film (2).mp4".
func numbered(name string, i int) string {
	ext := path.Ext(name)
	const longestExt = 10
	if len(ext) > longestExt || ext == name {
		ext = ""
	}
	stem := strings.TrimSuffix(name, ext)
	const room = 12 // bytes, for the number
	const longest = 240
	for len(stem) > longest-len(ext)-room {
		_, size := utf8.DecodeLastRuneInString(stem)
		stem = stem[:len(stem)-size]
	}
	return stem + " (" + strconv.Itoa(i) + ")" + ext
}
