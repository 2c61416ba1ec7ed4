package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/wire"
)

// What somebody else does to the files of a running torrent is noticed by their size,
// time and identity, which are looked at now and then. The verified pieces of a file
// that was changed are in doubt: each is hashed again before it is read again, and all
// of them in the background. Pieces that turn out wrong are lost, and Config.Lost hears
// of them. A file that is touched again and again, but stays right, is looked at less
// and less often.

const (
	// lookInterval is how often a file that is read is looked at.
	lookInterval = time.Second
	// maxLookInterval is that for a file that others touch but do not change.
	maxLookInterval = time.Minute
	// recheckTurn is for how long pieces are hashed before others have a turn.
	recheckTurn = 100 * time.Millisecond
)

// ErrLost says that a piece was verified, but somebody has written to its file since.
// It is a kind of ErrEvicted.
var ErrLost = fmt.Errorf("somebody changed the file: %w", ErrEvicted)

// look is what a place looked like, as far as its pieces were verified.
type look struct {
	stamp    Stamp
	known    bool          // stamp is set
	writes   uint64        // of ours, when it was set
	pending  *Stamp        // what it looks like since somebody changed it, until it was hashed
	interval time.Duration // 0: lookInterval
}

// writes counts our own writes to a file, which change its time too.
type writes struct{ begun, ended atomic.Uint64 }

// doubts are the verified pieces whose files were changed by others.
type doubts struct {
	count    atomic.Int64 // of suspects and lost
	settling sync.Mutex   // held while one is hashed
	// Guarded by Storage.mu:
	suspects map[int]struct{} // to be hashed
	queue    []int            // of suspects, perhaps with some that are none any more
	lost     map[int]struct{} // wrong, and not downloaded since
	round    int              // how often files were found changed
	anyLost  bool             // in this round
	running  bool             // recheck is at it
}

// suspect puts a verified piece in doubt.
func (d *doubts) suspect(piece int) {
	if d.suspects == nil {
		d.suspects, d.lost = make(map[int]struct{}), make(map[int]struct{})
	}
	if _, lost := d.lost[piece]; lost {
		return
	}
	if _, is := d.suspects[piece]; !is {
		d.suspects[piece] = struct{}{}
		d.queue = append(d.queue, piece)
	}
	d.recount()
}

// settle takes a piece out of doubt.
func (d *doubts) settle(piece int) {
	if d.count.Load() == 0 {
		return
	}
	delete(d.suspects, piece)
	delete(d.lost, piece)
	d.recount()
}

// lose notes that a piece is wrong.
func (d *doubts) lose(piece int) {
	delete(d.suspects, piece)
	d.lost[piece] = struct{}{}
	d.anyLost = true
	d.recount()
}

func (d *doubts) recount() { d.count.Store(int64(len(d.suspects) + len(d.lost))) }

// next returns a suspect, or -1.
func (d *doubts) next() int {
	for len(d.queue) > 0 {
		piece := d.queue[0]
		if _, is := d.suspects[piece]; is {
			return piece
		}
		d.queue = d.queue[1:]
	}
	return -1
}

func (s *Storage) writesOf(place int) *writes {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes[place]
}

// errDoubt says that pieces have to be hashed before they can be relied on.
var errDoubt = errors.New("files were changed, and are being checked")

// Fresh looks at a file, if that was not done just now, and fails while pieces are in
// doubt. It is for those who read a file by its path; ReadAt does it by itself.
func (s *Storage) Fresh(file int) error {
	if !s.enter() {
		return ErrClosed
	}
	defer s.leave()
	if err := s.lookIfDue(file); err != nil {
		return err
	}
	if s.doubts.count.Load() != 0 {
		return errDoubt
	}
	return nil
}

// fresh makes sure that what is about to be read was not changed.
func (s *Storage) fresh(off, n int64) error {
	err := spans(s.cfg.Info, off, n, func(sp span) error { return s.lookIfDue(sp.file) })
	if err != nil || s.doubts.count.Load() == 0 {
		return err
	}
	for piece := int(off / s.cfg.Info.PieceLength); int64(piece)*s.cfg.Info.PieceLength < off+n; piece++ {
		if err := s.settle(piece); err != nil {
			return err
		}
	}
	return nil
}

func (s *Storage) lookIfDue(file int) error {
	now, due := int64(time.Since(s.started)), s.due[file].Load()
	if now < due || s.cfg.Info.Files[file].Pad {
		return nil
	}
	s.mu.Lock()
	place := file
	if !s.real[file] {
		place = s.part()
	}
	interval := s.looks[place].interval
	s.mu.Unlock()
	// Whoever comes meanwhile reads what was looked at last.
	if !s.due[file].CompareAndSwap(due, now+int64(max(interval, lookInterval))) {
		return nil
	}
	if _, err := s.lookAt(place); err != nil {
		return s.explain("looking at", place, err)
	}
	return nil
}

// lookAt compares a place with what it looked like, and returns the stamp as of which
// its pieces are verified.
func (s *Storage) lookAt(place int) (Stamp, error) {
	s.mu.Lock()
	seen, w, path := s.seen[place], s.writes[place], s.paths[place]
	s.mu.Unlock()
	ended := w.ended.Load()
	now, replaced, err := s.stat(path)
	begun := w.begun.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, fs.ErrNotExist) && seen:
		return Stamp{}, vanished(path)
	case errors.Is(err, fs.ErrNotExist):
		now = Stamp{Size: -1}
	case err != nil:
		return Stamp{}, err
	case replaced && s.touched[place]:
		return Stamp{}, vanished(path) // what was written is lost, and its pieces not known
	default:
		s.seen[place] = true
	}
	l := &s.looks[place]
	ours := begun != ended || begun != l.writes
	switch {
	case !l.known:
		l.stamp, l.known, l.writes = now, true, ended
	case ours && !replaced && now.Size >= s.leastSize(place, l.stamp):
		l.now(now, ended)
	case now == l.stamp && !replaced:
		l.pending = nil
	case l.pending == nil || *l.pending != now || replaced:
		s.suspectPlace(place, now)
	}
	return l.stamp, nil
}

// now notes what a place looks like after our own writing.
func (l *look) now(stamp Stamp, writes uint64) {
	l.writes = writes
	if l.pending != nil {
		*l.pending = stamp
	} else {
		l.stamp = stamp
	}
}

// lookBefore looks at a file before it is written to, if nothing of ours was since the
// last look: a change by others would pass for ours afterwards.
func (s *Storage) lookBefore(place int, h *handle, begun uint64) {
	s.mu.Lock()
	l := s.looks[place]
	w := s.writes[place]
	untouched := l.known && l.stamp.Size >= 0 && l.pending == nil && w.ended.Load() == l.writes
	s.mu.Unlock()
	if !untouched {
		return
	}
	info, err := h.Stat()
	if err != nil {
		return
	}
	now := Stamp{info.Size(), info.ModTime().UnixNano()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := &s.looks[place]; now != l.stamp && l.pending == nil && w.ended.Load() == l.writes && w.begun.Load() == begun {
		s.suspectPlace(place, now)
	}
}

// lookAfter notes what a file looks like after a write, if that was the only one.
func (s *Storage) lookAfter(place int, h *handle, w *writes) {
	begun := w.begun.Load()
	if begun-w.ended.Load() > 1 {
		w.ended.Add(1)
		return
	}
	info, err := h.Stat()
	ended := w.ended.Add(1)
	if err != nil || ended != begun || w.begun.Load() != begun {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := &s.looks[place]; l.known && s.writes[place] == w {
		l.now(Stamp{info.Size(), info.ModTime().UnixNano()}, ended)
	}
}

// leastSize returns how small a file can become by our own doing.
func (s *Storage) leastSize(place int, before Stamp) int64 {
	if place == s.part() {
		return before.Size
	}
	return min(before.Size, s.cfg.Info.Files[place].Length) // Cut
}

// stat looks at a file. replaced says that it is not the one that is open; that is
// closed then.
func (s *Storage) stat(path string) (_ Stamp, replaced bool, err error) {
	open, isOpen := s.cfg.Handles.current(path)
	if isOpen {
		defer s.cfg.Handles.release(open)
	}
	if err := s.cfg.Handles.before("stat", path); err != nil {
		return Stamp{}, false, err
	}
	now, err := os.Stat(path)
	if err != nil {
		return Stamp{}, false, err
	}
	if !now.Mode().IsRegular() {
		return Stamp{}, false, inTheWay(path)
	}
	if isOpen && !os.SameFile(open.info, now) {
		replaced = true
		s.cfg.Handles.drop(path)
	}
	return Stamp{now.Size(), now.ModTime().UnixNano()}, replaced, nil
}

// suspectPlace puts the pieces of a place that was changed in doubt. It is called with
// the lock.
func (s *Storage) suspectPlace(place int, now Stamp) {
	l := &s.looks[place]
	l.pending = &now
	s.doubts.round++
	s.mu.Unlock()
	var pieces []int
	s.piecesOf(place, func(piece int) { pieces = append(pieces, piece) })
	s.mu.Lock()
	for _, piece := range pieces {
		if s.good.Has(piece) {
			s.doubts.suspect(piece)
		}
	}
	if s.settled() || s.doubts.running {
		return
	}
	s.doubts.running, s.doubts.anyLost = true, false
	s.cfg.Pool.submit(&s.lane, recheck{s})
}

// settled ends the doubts when no suspect is left: the files are known as they are.
func (s *Storage) settled() bool {
	if len(s.doubts.suspects) > 0 {
		return false
	}
	s.doubts.queue = nil
	for place := range s.looks {
		l := &s.looks[place]
		if l.pending == nil {
			continue
		}
		l.stamp, l.pending = *l.pending, nil
		l.interval = min(max(2*l.interval, 2*lookInterval), maxLookInterval)
		if s.doubts.anyLost {
			l.interval = 0
		}
	}
	return true
}

// settle hashes a piece if it is in doubt.
func (s *Storage) settle(piece int) error {
	lost, err := s.decide(piece)
	if lost && s.cfg.Lost != nil {
		s.cfg.Lost([]int{piece})
	}
	return err
}

// decide hashes a piece if it is in doubt. lost says that it was found wrong just now.
func (s *Storage) decide(piece int) (lost bool, err error) {
	s.mu.Lock()
	_, suspect := s.doubts.suspects[piece]
	isLost := s.wasLost(piece)
	s.mu.Unlock()
	if isLost {
		return false, ErrLost
	}
	if !suspect {
		return false, nil
	}
	s.doubts.settling.Lock()
	defer s.doubts.settling.Unlock()
	for {
		s.mu.Lock()
		_, suspect = s.doubts.suspects[piece]
		isLost = s.wasLost(piece)
		round := s.doubts.round
		s.mu.Unlock()
		if isLost {
			return false, ErrLost
		}
		if !suspect {
			return false, nil
		}
		ok, err := s.verify(piece)
		if err != nil {
			return false, err
		}
		s.mu.Lock()
		switch _, suspect = s.doubts.suspects[piece]; {
		case !suspect: // it was downloaded meanwhile
			s.mu.Unlock()
			return false, nil
		case s.doubts.round != round:
			s.mu.Unlock()
			continue
		case ok:
			s.doubts.settle(piece)
			s.settled()
			s.mu.Unlock()
			return false, nil
		}
		s.lose(piece)
		s.settled()
		s.mu.Unlock()
		return true, ErrLost
	}
}

// lose takes a wrong piece out of the verified ones. It is called with the lock.
func (s *Storage) lose(piece int) {
	s.good.Clear(piece)
	s.durable.Clear(piece)
	if s.doubts.lost == nil {
		s.doubts.suspects, s.doubts.lost = make(map[int]struct{}), make(map[int]struct{})
	}
	s.doubts.lose(piece)
	_ = spans(s.cfg.Info, int64(piece)*s.cfg.Info.PieceLength, s.cfg.Info.PieceSize(piece), func(sp span) error {
		s.owned[sp.file] = false
		s.heed(sp.file, careChanged)
		return nil
	})
}

// recheck is the job that hashes what is in doubt.
type recheck struct{ s *Storage }

func (r recheck) work() {
	s := r.s
	if !s.enter() {
		return
	}
	defer s.leave()
	var lost []int
	more := true
	for start := time.Now(); more && time.Since(start) < recheckTurn; {
		s.mu.Lock()
		piece := s.doubts.next()
		more = piece >= 0 && !s.closed
		s.doubts.running = more
		s.mu.Unlock()
		if !more {
			break
		}
		isLost, err := s.decide(piece)
		if isLost {
			lost = append(lost, piece)
		} else if err != nil && !errors.Is(err, ErrLost) {
			r.failed(err) // whoever wants to read it will hear of it
			more = false
		}
	}
	if len(lost) > 0 && s.cfg.Lost != nil {
		s.cfg.Lost(lost)
	}
	if more {
		s.cfg.Pool.submit(&s.lane, r)
	}
}

func (r recheck) failed(error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.doubts.running = false
}

// Verified returns the pieces that are in the files, verified by this run or relied on.
func (s *Storage) Verified() wire.Bitfield {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.good.Clone()
}
