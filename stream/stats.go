package stream

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/stream/window"
)

// stallTime is how long a client must have waited for bytes to count as
// stalled: what is shorter, players' buffers hide.
const stallTime = 500 * time.Millisecond

// ReaderStats describes one open response. Amounts are in bytes, rates in bytes
// per second.
type ReaderStats struct {
	ID       uint64    `json:"id"`
	InfoHash string    `json:"infohash"`
	Index    int       `json:"index"`
	File     string    `json:"file"`
	Length   int64     `json:"length"`
	Client   string    `json:"client"`
	Agent    string    `json:"user_agent,omitempty"`
	Started  time.Time `json:"started"`

	Position int64   `json:"position"` // of the next byte to be sent
	Buffered int64   `json:"buffered"` // verified bytes ahead of it
	Window   int64   `json:"window"`   // how many are wanted
	Sent     int64   `json:"sent"`
	Rate     float64 `json:"rate"`    // at which the client reads
	Bitrate  float64 `json:"bitrate"` // of the file, by its header; 0 if unknown

	Waiting        bool    `json:"waiting"` // for peers, now
	Stalls         int     `json:"stalls"`  // waits of half a second and more after the first byte
	StalledSeconds float64 `json:"stalled_seconds"`
}

// readerRecord is one response's figures, written by it and read by others.
type readerRecord struct {
	mu           sync.Mutex
	stats        ReaderStats
	meter        window.Meter
	waitingSince time.Time // zero: not waiting
	sendingSince time.Time // zero: the client has accepted what was sent
}

// progressed notes the state between two chunks.
func (r *readerRecord) progressed(position, buffered, window int64, bitrate float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Position, r.stats.Buffered = position, buffered
	r.stats.Window, r.stats.Bitrate = window, bitrate
}

func (r *readerRecord) sent(n int64, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Sent += n
	r.stats.Position += n
	r.meter.Add(n, now)
}

func (r *readerRecord) rate(now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.meter.At(now)
}

func (r *readerRecord) waitBegins(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waitingSince = now
}

func (r *readerRecord) waitEnds(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.countStall(&r.stats, now)
	r.waitingSince = time.Time{}
}

// sends notes that bytes are about to be sent, or with a zero time that the client has
// accepted them.
func (r *readerRecord) sends(since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sendingSince = since
}

// accepted returns how many bytes the client has accepted, and for how many seconds it
// has let others wait.
func (r *readerRecord) accepted(now time.Time) (bytes, stuck float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.sendingSince.IsZero() {
		stuck = now.Sub(r.sendingSince).Seconds()
	}
	return float64(r.stats.Sent), stuck
}

// countStall adds the wait that is going on, if it is a stall.
func (r *readerRecord) countStall(s *ReaderStats, now time.Time) {
	if r.waitingSince.IsZero() || s.Sent == 0 {
		return
	}
	if wait := now.Sub(r.waitingSince); wait >= stallTime {
		s.Stalls++
		s.StalledSeconds += wait.Seconds()
	}
}

func (r *readerRecord) snapshot(now time.Time) ReaderStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Rate = r.meter.At(now)
	s.Waiting = !r.waitingSince.IsZero()
	r.countStall(&s, now)
	return s
}

// readerTable holds the open responses; Config.MaxResponses bounds it.
type readerTable struct {
	mu     sync.Mutex
	nextID uint64
	open   map[*readerRecord]struct{}
}

func (t *readerTable) add(s ReaderStats) *readerRecord {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = make(map[*readerRecord]struct{})
	}
	t.nextID++
	s.ID = t.nextID
	r := &readerRecord{stats: s}
	t.open[r] = struct{}{}
	return r
}

func (t *readerTable) remove(r *readerRecord) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, r)
}

// Sent returns how many bytes of files were sent, in all responses so far.
func (s *Server) Sent() int64 { return s.sent.Load() }

// Readers returns the open responses' figures, oldest first.
func (s *Server) Readers() []ReaderStats {
	s.readers.mu.Lock()
	records := make([]*readerRecord, 0, len(s.readers.open))
	for r := range s.readers.open {
		records = append(records, r)
	}
	s.readers.mu.Unlock()
	now := time.Now()
	all := make([]ReaderStats, len(records))
	for i, r := range records {
		all[i] = r.snapshot(now)
	}
	slices.SortFunc(all, func(a, b ReaderStats) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// serveStats answers with the open responses of one torrent.
func (s *Server) serveStats(w http.ResponseWriter, r *http.Request, t Torrent) {
	answer := struct {
		InfoHash string        `json:"infohash"`
		Name     string        `json:"name"`
		Readers  []ReaderStats `json:"readers"`
	}{t.InfoHash(), t.Name(), []ReaderStats{}}
	for _, reader := range s.Readers() {
		if reader.InfoHash == answer.InfoHash {
			answer.Readers = append(answer.Readers, reader)
		}
	}
	body, err := json.Marshal(answer)
	if err != nil { // a figure that is no number
		http.Error(w, "cannot write statistics: "+err.Error(), http.StatusInternalServerError)
		return
	}
	serveText(w, r, "application/json", append(body, '\n'))
}
