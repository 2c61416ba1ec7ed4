package share

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/web"
)

const (
	// maxSendings and maxSendingsOfOne bound what is being sent at a time, in all and by
	// one address.
	maxSendings, maxSendingsOfOne = 32, 8
	// keptSendings bounds what has ended and may still be asked about.
	keptSendings = 256
	// sendPatience is for how long nothing may come of what is being sent.
	sendPatience = 2 * time.Minute
	// maxTorrent and maxAnnouncement bound what is sent to begin with, in bytes.
	maxTorrent      = 8 << 20
	maxAnnouncement = 1 << 20
	// smallTimeout is in which that must have come, and maxReading and maxReadingOfOne how many
	// are read at a time, in all and from one address.
	smallTimeout                = 30 * time.Second
	maxReading, maxReadingOfOne = 8, 2
)

// ReceiverConfig says what is received and where it goes. All functions are required.
type ReceiverConfig struct {
	Folder   string // exists
	MaxBytes int64  // in all, of this run
	MaxFiles int    // in all, of this run
	// SafeName makes a file name of one that a stranger chose; "" if it means nothing, an
	// error if it would leave its folder.
	SafeName func(name string) (string, error)
	// Fetch looks at a torrent that a page seeds. Its error is for the sender.
	Fetch func(torrent []byte) (Fetch, error)
	// IsFull tells the error of a disk that is full.
	IsFull func(error) bool
	// Saved is called with each file or folder that was saved: its name in the receiver's
	// folder, and how large it is.
	Saved    func(name string, bytes int64, webrtc bool)
	Patience time.Duration // 0: sendPatience
	Logger   *slog.Logger  // nil: none
}

// Fetch is a torrent that is to be received.
type Fetch interface {
	// Size is in bytes and files.
	Size() (bytes int64, files int)
	// Start fetches it into an empty folder. It does not wait.
	Start(folder string) error
	// Received is in bytes, verified.
	Received() int64
	// Done is closed when all is there and verified, or it failed.
	Done() <-chan struct{}
	// Close ends it, and waits until nothing more is written; it may be called at any time.
	// The error says why it failed before, if it did.
	Close() error
}

// Receiver takes files from pages. What is sent goes into a folder of its own first, and under
// its name when it is all there; it replaces nothing.
type Receiver struct {
	cfg  ReceiverConfig
	root *os.Root

	mu       sync.Mutex
	closed   bool
	sendings map[string]*sending
	bytes    int64 // that are taken, or promised
	files    int
	reading  []netip.Prefix // from where small bodies are being read
	wg       sync.WaitGroup
	done     chan struct{}

	saving sync.Mutex // held while something gets its name
}

// sendError is an error that the sender is told.
type sendError struct {
	status int
	text   string
}

func (e *sendError) Error() string { return e.text }

func refuse(status int, format string, args ...any) error {
	return &sendError{status, fmt.Sprintf(format, args...)}
}

var (
	errStopped = refuse(http.StatusServiceUnavailable, "the receiver has stopped")
	errBusy    = refuse(http.StatusServiceUnavailable, "too much is being sent at once; try again later")
)

// NewReceiver opens the folder. Close ends it.
func NewReceiver(cfg ReceiverConfig) (*Receiver, error) {
	root, err := os.OpenRoot(cfg.Folder)
	if err != nil {
		return nil, fmt.Errorf("receiving into %s: %w", cfg.Folder, err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Patience <= 0 {
		cfg.Patience = sendPatience
	}
	r := &Receiver{cfg: cfg, root: root, sendings: map[string]*sending{}, done: make(chan struct{})}
	r.wg.Go(r.watch)
	return r, nil
}

// Close gives up on what is not all there.
func (r *Receiver) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	close(r.done)
	var open []*sending
	for _, s := range r.sendings {
		open = append(open, s)
	}
	r.mu.Unlock()
	for _, s := range open {
		s.fail(r, errors.New("the receiver has stopped"))
	}
	r.wg.Wait()
	return r.root.Close()
}

// watch gives up on senders that have stopped in the middle.
func (r *Receiver) watch() {
	tick := time.NewTicker(r.cfg.Patience / 4)
	defer tick.Stop()
	for {
		select {
		case <-r.done:
			return
		case now := <-tick.C:
			for _, s := range r.stalled(now) {
				s.fail(r, errors.New("nothing more came"))
			}
		}
	}
}

func (r *Receiver) stalled(now time.Time) []*sending {
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.sendings))
	r.mu.Unlock()
	return slices.DeleteFunc(all, func(s *sending) bool { return s.silentSince(now) <= r.cfg.Patience })
}

func (r *Receiver) describe() *web.Receive {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &web.Receive{URL: receivePrefix, MaxBytes: max(r.cfg.MaxBytes-r.bytes, 0), MaxFiles: max(r.cfg.MaxFiles-r.files, 0)}
}

// serve answers what is below the receiver's URL.
func (r *Receiver) serve(w http.ResponseWriter, req *http.Request, path string, from netip.Prefix) {
	result, err := r.route(w, req, strings.Split(strings.TrimPrefix(path, "/"), "/"), from)
	var refused *sendError
	switch {
	case errors.As(err, &refused):
		http.Error(w, refused.text, refused.status)
	case err != nil && r.cfg.IsFull(err):
		http.Error(w, "the receiver's disk is full", http.StatusInsufficientStorage)
	case err != nil:
		r.cfg.Logger.Warn("receiving", "error", err)
		http.Error(w, "the receiver could not save this", http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(result) // nobody is there to be told
	}
}

func (r *Receiver) route(w http.ResponseWriter, req *http.Request, path []string, from netip.Prefix) (web.Receiving, error) {
	switch {
	case len(path) == 1 && path[0] == "torrent" && req.Method == http.MethodPost:
		return r.takeTorrent(w, req, from)
	case len(path) == 1 && path[0] == "upload" && req.Method == http.MethodPost:
		return r.announceUpload(w, req, from)
	}
	s := r.find(path[0])
	if s == nil || len(path) > 2 {
		return web.Receiving{}, refuse(http.StatusNotFound, "nothing of that id is being sent")
	}
	switch {
	case len(path) == 1 && req.Method == http.MethodGet:
		return s.state(), nil
	case len(path) == 1 && req.Method == http.MethodDelete:
		s.fail(r, errors.New("the sender has given up"))
		return s.state(), nil
	case len(path) == 2 && path[1] == "done" && req.Method == http.MethodPost:
		return s.finish(r)
	case len(path) == 2 && (req.Method == http.MethodGet || req.Method == http.MethodPut):
		i, err := strconv.Atoi(path[1])
		if err != nil || s.upload == nil || i < 0 || i >= len(s.upload.files) {
			return web.Receiving{}, refuse(http.StatusNotFound, "there is no such file in what is being sent")
		}
		if req.Method == http.MethodGet {
			return s.fileState(i), nil
		}
		return s.put(r, w, req, i)
	}
	return web.Receiving{}, refuse(http.StatusMethodNotAllowed, "this cannot be done here")
}

func (r *Receiver) find(id string) *sending {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sendings[id]
}

// beginReading admits one more small body, until endReading.
func (r *Receiver) beginReading(from netip.Prefix) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := 0
	for _, other := range r.reading {
		if other == from {
			own++
		}
	}
	if len(r.reading) >= maxReading || own >= maxReadingOfOne {
		return false
	}
	r.reading = append(r.reading, from)
	return true
}

func (r *Receiver) endReading(from netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.reading, from)
	r.reading = slices.Delete(r.reading, i, i+1)
}

// readSmall reads a body that has to come soon.
func (r *Receiver) readSmall(w http.ResponseWriter, req *http.Request, most int64, from netip.Prefix) ([]byte, error) {
	if !r.beginReading(from) {
		return nil, errBusy
	}
	defer r.endReading(from)
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(smallTimeout))
	body, err := io.ReadAll(io.LimitReader(req.Body, most+1))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "what you sent did not come whole")
	}
	if int64(len(body)) > most {
		return nil, refuse(http.StatusRequestEntityTooLarge, "that is too long")
	}
	return body, nil
}

// begin admits something that is to be sent, by one of the two ways, and makes a folder for it.
func (r *Receiver) begin(from netip.Prefix, bytes int64, files int, fetch Fetch, up *upload) (*sending, error) {
	s := &sending{
		Receiving: web.Receiving{ID: newID(), State: web.ReceivingWaits},
		from:      from, bytes: bytes, files: files, fetch: fetch, upload: up, heard: time.Now(), over: make(chan struct{}),
	}
	s.folder = tempPrefix + s.ID
	if err := r.admit(s); err != nil {
		return nil, err
	}
	if err := r.root.Mkdir(s.folder, 0o700); err != nil {
		s.fail(r, err)
		return nil, err
	}
	return s, nil
}

// clearAfterEnd removes what was made in the folder of a sending after its end, and reports
// whether that has come.
func (s *sending) clearAfterEnd(r *Receiver) bool {
	s.mu.Lock()
	ending := s.ending
	s.mu.Unlock()
	if ending {
		s.clear(r)
	}
	return ending
}

// clear removes the folder of a sending with all that is in it.
func (s *sending) clear(r *Receiver) {
	if err := r.root.RemoveAll(s.folder); err != nil {
		r.cfg.Logger.Warn("what was received in part is left behind", "folder", s.folder, "error", err)
	}
}

// tempPrefix begins the names of folders of what is being sent.
const tempPrefix = ".causeway-receiving-"

func (r *Receiver) admit(s *sending) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	open, own, ended := 0, 0, 0
	var oldest *sending
	for _, other := range r.sendings {
		switch {
		case !other.isOver():
			open++
			if other.from == s.from {
				own++
			}
		default:
			ended++
			if oldest == nil || other.lastHeard().Before(oldest.lastHeard()) {
				oldest = other
			}
		}
	}
	switch {
	case r.closed:
		return errStopped
	case open >= maxSendings || own >= maxSendingsOfOne:
		return errBusy
	case s.files < 1 || s.bytes < 0:
		return refuse(http.StatusBadRequest, "there is nothing in it")
	case s.files > r.cfg.MaxFiles-r.files:
		return refuse(http.StatusRequestEntityTooLarge, "too many files: %d more are taken", max(r.cfg.MaxFiles-r.files, 0))
	case s.bytes > r.cfg.MaxBytes-r.bytes:
		return refuse(http.StatusRequestEntityTooLarge, "too large: %d more bytes are taken", max(r.cfg.MaxBytes-r.bytes, 0))
	}
	if ended >= keptSendings {
		delete(r.sendings, oldest.ID)
	}
	r.bytes += s.bytes
	r.files += s.files
	r.sendings[s.ID] = s
	return nil
}

// release takes back what was promised to one that failed.
func (r *Receiver) release(s *sending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes -= s.bytes
	r.files -= s.files
}

// spend has nothing be taken back of a sending of which a part is kept.
func (r *Receiver) spend(s *sending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.bytes, s.files = 0, 0
}

// sending is what one page sends.
type sending struct {
	from   netip.Prefix
	bytes  int64
	files  int
	folder string // in the receiver's, of what is not all there
	fetch  Fetch  // nil: it comes by HTTP
	upload *upload

	mu sync.Mutex
	web.Receiving
	heard  time.Time
	puts   int // under way
	ending bool
	over   chan struct{} // closed when it is saved or has failed
}

func (s *sending) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

func (s *sending) lastHeard() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

// silentSince is for how long nothing has come.
func (s *sending) silentSince(now time.Time) time.Duration {
	received := int64(0)
	if s.fetch != nil {
		received = s.fetch.Received()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || s.isOver() {
		return 0
	}
	if received > s.Received {
		s.Received, s.State, s.heard = received, web.ReceivingComes, now
	}
	return now.Sub(s.heard)
}

// state is what the page is told.
func (s *sending) state() web.Receiving {
	s.silentSince(time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Receiving
}

// end claims the end of a sending for the caller, once.
func (s *sending) end() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return false
	}
	s.ending = true
	return true
}

// fail gives up, and leaves nothing behind.
func (s *sending) fail(r *Receiver, why error) {
	if !s.end() {
		return
	}
	s.failed(r, why)
}

// failed is fail for whoever has the end.
func (s *sending) failed(r *Receiver, why error) {
	if s.fetch != nil {
		_ = s.fetch.Close() // why it failed is known
	}
	if s.upload != nil {
		s.closing()
		<-s.upload.idle
	}
	s.clear(r)
	r.release(s)
	message := why.Error()
	var refused *sendError
	if !errors.As(why, &refused) && r.cfg.IsFull(why) {
		message = "the receiver's disk is full"
	}
	s.mu.Lock()
	s.State, s.Message = web.ReceivingFailed, message
	s.mu.Unlock()
	close(s.over)
	r.cfg.Logger.Info("receiving failed", "from", s.from, "why", why)
}
