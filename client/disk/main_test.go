package disk

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/torrent/bencode"
	"go.uber.org/goleak"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// entry is a file of a torrent to be made.
type entry struct {
	path   string
	length int
	attr   string // BEP 47
}

// torrent is a torrent with its data, padding included.
type torrent struct {
	*meta.Info
	data []byte
}

const pieceLength = 64 << 10

// newTorrent makes a torrent of random data; of one file if there is one entry.
func newTorrent(t testing.TB, entries ...entry) *torrent {
	t.Helper()
	return newTorrentOf(t, byte(len(entries)), pieceLength, entries...)
}

// newTorrentOf is newTorrent with data that follows from a seed, and with a piece length.
func newTorrentOf(t testing.TB, seed byte, pieceLength int, entries ...entry) *torrent {
	t.Helper()
	tr := &torrent{}
	rng := rand.NewChaCha8([32]byte{seed})
	info := map[string]any{"name": "t", "piece length": pieceLength}
	var files []any
	for _, e := range entries {
		data := make([]byte, e.length)
		if !strings.Contains(e.attr, "p") {
			rng.Read(data)
		}
		tr.data = append(tr.data, data...)
		file := map[string]any{"length": e.length, "path": strings.Split(e.path, "/")}
		if e.attr != "" {
			file["attr"] = e.attr
		}
		files = append(files, file)
	}
	if len(entries) == 1 {
		info["name"], info["length"] = entries[0].path, entries[0].length
	} else {
		info["files"] = files
	}
	return tr.finish(t, info, pieceLength)
}

// newTorrentWith makes a torrent of one file, "f".
func newTorrentWith(t testing.TB, data []byte) *torrent {
	t.Helper()
	tr := &torrent{data: data}
	return tr.finish(t, map[string]any{"name": "f", "length": len(data), "piece length": pieceLength}, pieceLength)
}

// finish hashes the data and completes the info dictionary.
func (tr *torrent) finish(t testing.TB, info map[string]any, pieceLength int) *torrent {
	t.Helper()
	var hashes []byte
	for off := 0; off < len(tr.data); off += pieceLength {
		sum := sha1.Sum(tr.data[off:min(off+pieceLength, len(tr.data))])
		hashes = append(hashes, sum[:]...)
	}
	info["pieces"] = string(hashes)
	raw, err := bencode.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	if tr.Info, err = meta.ParseInfo(raw); err != nil {
		t.Fatal(err)
	}
	return tr
}

// piece returns the data of a piece.
func (tr *torrent) piece(i int) []byte {
	off := int64(i) * tr.PieceLength
	return tr.data[off : off+tr.PieceSize(i)]
}

// file returns the data of a file.
func (tr *torrent) file(i int) []byte {
	f := tr.Files[i]
	return tr.data[f.Offset : f.Offset+f.Length]
}

// session is a Storage with what it needs around it.
type session struct {
	*Storage
	t       testing.TB
	torrent *torrent
	memory  *Memory
	results chan Result
}

// start opens a torrent in dir; configure may change the rest. It is closed at the
// end of the test, or by stop.
func start(t testing.TB, tr *torrent, dir string, configure func(*Config)) *session {
	t.Helper()
	s := &session{t: t, torrent: tr, memory: NewMemory(64 << 20), results: make(chan Result, 1000)}
	pool := NewPool(2)
	cfg := Config{
		Info: tr.Info, Dir: dir, Memory: s.memory, Pool: pool, Handles: NewHandles(64),
		Done: func(r Result) { s.results <- r },
	}
	if configure != nil {
		configure(&cfg)
	}
	storage, err := Open(cfg)
	if err != nil {
		pool.Close()
		t.Fatal(err)
	}
	s.Storage = storage
	t.Cleanup(func() {
		s.Close()
		pool.Close()
	})
	return s
}

// selecting is a configuration with the given files alone.
func selecting(files ...int) func(*Config) {
	return func(c *Config) {
		c.Selected = make([]bool, len(c.Info.Files))
		for _, i := range files {
			c.Selected[i] = true
		}
	}
}

// put hands all blocks of an open piece over.
func (s *session) put(p *Piece, data []byte) {
	s.t.Helper()
	for i := range NumBlocks(int64(len(data))) {
		b := s.memory.Get()
		copy(b[:p.BlockLen(i)], data[i*wire.BlockSize:])
		if !p.Put(i, b, "peer") {
			s.t.Fatalf("block %d of piece %d was refused", i, p.Index)
		}
	}
}

// download puts pieces in place, and returns the first error.
func (s *session) download(pieces ...int) (err error) {
	s.t.Helper()
	for _, i := range pieces {
		s.put(s.begin(i), s.torrent.piece(i))
		if r := <-s.results; !r.OK && err == nil {
			if err = r.Err; err == nil {
				err = fmt.Errorf("piece %d was wrong", r.Piece)
			}
		}
	}
	return err
}

func (s *session) begin(piece int) *Piece {
	s.t.Helper()
	p := s.Begin(piece, false, false)
	if p == nil {
		s.t.Fatalf("no memory for piece %d", piece)
	}
	return p
}

func (s *session) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// sync brings everything to the disk.
func (s *session) sync() {
	s.t.Helper()
	_, err := s.Sync(wire.NewBitfield(s.torrent.NumPieces()))
	s.must(err)
}

// wantPieces checks that pieces can be read and are right.
func (s *session) wantPieces(pieces ...int) {
	s.t.Helper()
	for _, i := range pieces {
		want := s.torrent.piece(i)
		got := make([]byte, len(want))
		s.must(s.ReadBlocks(got, uint32(i), 0))
		if !bytes.Equal(got, want) {
			s.t.Errorf("piece %d reads wrong", i)
		}
	}
}

// save returns the state of a run that has the given pieces.
func (s *session) save(clean bool, pieces ...int) *State {
	s.t.Helper()
	stamps, err := s.Stamps()
	s.must(err)
	have := set(s.torrent.NumPieces(), pieces...)
	return &State{
		Have: have, Synced: have.Clone(), Stamps: stamps, Clean: clean, Boot: BootID(), Saved: time.Now(),
	}
}

// wantPlan checks which pieces Plan relies on, and which it wants checked.
func (s *session) wantPlan(st *State, have, check []int) {
	s.t.Helper()
	gotHave, gotCheck, err := s.Plan(st)
	s.must(err)
	n := s.torrent.NumPieces()
	if want := set(n, have...); !bytes.Equal(gotHave, want) {
		s.t.Errorf("it relies on %08b, want %08b", gotHave, want)
	}
	if want := set(n, check...); !bytes.Equal(gotCheck, want) {
		s.t.Errorf("it checks %08b, want %08b", gotCheck, want)
	}
}

// checked returns which of the pieces are found to be right.
func (s *session) checked(pieces wire.Bitfield) (right wire.Bitfield) {
	right = wire.NewBitfield(s.torrent.NumPieces())
	results := make(chan int, s.torrent.NumPieces())
	s.Check(context.Background(), pieces, func(piece int, ok bool) {
		if ok {
			results <- piece
		}
	})
	close(results)
	for p := range results {
		right.Set(p)
	}
	return right
}

func set(n int, pieces ...int) wire.Bitfield {
	f := wire.NewBitfield(n)
	for _, i := range pieces {
		f.Set(i)
	}
	return f
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func wantFile(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("%s is wrong", filepath.Base(path))
	}
}
