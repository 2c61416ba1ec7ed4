package disk

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/causeway-bt/causeway/wire"
)

// Stamp is what tells a file that was changed by others from one that was not.
type Stamp struct {
	Size    int64 // bytes, -1: there is no such file
	ModTime int64 // nanoseconds since 1970
}

// State is what is remembered of a torrent between runs.
type State struct {
	// Have are the pieces that were verified and written. Synced are those of them
	// that the disk itself was told to keep; they survive a crash of the system.
	Have, Synced wire.Bitfield
	// Stamps of the files in the torrent's order, and of the part file.
	Stamps []Stamp
	// Clean is false while pieces are being written.
	Clean bool
	// Boot names the run of the operating system that Have was saved in, "" if it
	// has no name.
	Boot string
	// Saved is when, by the system's clock.
	Saved                time.Time
	Uploaded, Downloaded int64 // payload bytes of all runs
}

// Store keeps states, info dictionaries and DHT nodes in a file. The file is
// locked only during each call, so that several processes may share it.
type Store struct {
	path string
	mu   sync.Mutex // spares the torrents of this process to poll for the file's lock
}

// NewStore returns a store in a folder, which is created when needed.
func NewStore(dir string) *Store { return &Store{path: filepath.Join(dir, "resume.db")} }

// Buckets of the store. A torrent's state is a bucket of its own under
// bucketTorrents.
var (
	bucketTorrents = []byte("torrents")
	bucketInfos    = []byte("infos")
	bucketNodes    = []byte("dht")
)

// Keys of a torrent's bucket. Bitfields and stamps are apart from the rest, which
// is JSON: they change every second and can be large.
var (
	keyHave   = []byte("have")
	keySynced = []byte("synced")
	keyStamps = []byte("stamps")
	keyRest   = []byte("rest")
)

// lockTimeout is how long another process may hold the file. It holds it for
// milliseconds.
const lockTimeout = 10 * time.Second

// with opens the file, and calls f with it.
func (s *Store) with(f func(*bolt.DB) error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(s.path), 0o777); err != nil {
		return fmt.Errorf("opening the resume state: %w; choose another folder with --state", err)
	}
	// bbolt maps the file into memory, and ends on a damaged one with a panic or a
	// fault. The lock would stay with the mapping.
	var file *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			unlock(file)
			file.Close()
			err = fmt.Errorf("the resume state %s is damaged (%v); remove it to start afresh, or choose another folder with --state", s.path, r)
		}
	}()
	db, err := bolt.Open(s.path, 0o600, &bolt.Options{
		Timeout: lockTimeout,
		OpenFile: func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
	if err != nil {
		return fmt.Errorf("opening the resume state %s: %w; remove it to start afresh, or choose another folder with --state", s.path, err)
	}
	return errors.Join(f(db), db.Close())
}

func (s *Store) update(f func(*bolt.Tx) error) error {
	return s.with(func(db *bolt.DB) error {
		if err := db.Update(f); err != nil {
			return fmt.Errorf("saving the resume state %s: %w", s.path, err)
		}
		return nil
	})
}

func (s *Store) view(f func(*bolt.Tx) error) error {
	if _, err := os.Stat(s.path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return s.with(func(db *bolt.DB) error { return db.View(f) })
}

// stateKey tells torrents with the same infohash in different folders apart.
func stateKey(infoHash [20]byte, dir string) []byte {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return append(infoHash[:len(infoHash):len(infoHash)], dir...)
}

// rest are the fields of State that are stored as JSON.
type rest struct {
	Clean                bool
	Boot                 string
	Saved                time.Time
	Uploaded, Downloaded int64
}

// Save stores the state of a torrent whose files are in dir.
func (s *Store) Save(infoHash [20]byte, dir string, st *State) error {
	other, err := json.Marshal(rest{st.Clean, st.Boot, st.Saved, st.Uploaded, st.Downloaded})
	if err != nil {
		return err
	}
	stamps := make([]byte, 0, 16*len(st.Stamps))
	for _, t := range st.Stamps {
		stamps = binary.BigEndian.AppendUint64(stamps, uint64(t.Size))
		stamps = binary.BigEndian.AppendUint64(stamps, uint64(t.ModTime))
	}
	return s.update(func(tx *bolt.Tx) error {
		all, err := tx.CreateBucketIfNotExists(bucketTorrents)
		if err != nil {
			return err
		}
		b, err := all.CreateBucketIfNotExists(stateKey(infoHash, dir))
		if err != nil {
			return err
		}
		return errors.Join(b.Put(keyHave, st.Have), b.Put(keySynced, st.Synced),
			b.Put(keyStamps, stamps), b.Put(keyRest, other))
	})
}

// Load returns what was stored, or nil.
func (s *Store) Load(infoHash [20]byte, dir string) (st *State, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		all := tx.Bucket(bucketTorrents)
		if all == nil {
			return nil
		}
		b := all.Bucket(stateKey(infoHash, dir))
		if b == nil {
			return nil
		}
		var other rest
		if err := json.Unmarshal(b.Get(keyRest), &other); err != nil {
			return nil // written by another version; the data will be checked anew
		}
		st = &State{
			Have:   wire.Bitfield(b.Get(keyHave)).Clone(),
			Synced: wire.Bitfield(b.Get(keySynced)).Clone(),
			Clean:  other.Clean, Boot: other.Boot, Saved: other.Saved,
			Uploaded: other.Uploaded, Downloaded: other.Downloaded,
		}
		for p := b.Get(keyStamps); len(p) >= 16; p = p[16:] {
			st.Stamps = append(st.Stamps, Stamp{
				Size:    int64(binary.BigEndian.Uint64(p)),
				ModTime: int64(binary.BigEndian.Uint64(p[8:])),
			})
		}
		return nil
	})
	return st, err
}

// SaveInfo stores an info dictionary, so that a magnet link need not fetch it
// again.
func (s *Store) SaveInfo(infoHash [20]byte, raw []byte) error {
	return s.put(bucketInfos, infoHash[:], raw)
}

// LoadInfo returns a stored info dictionary, or nil.
func (s *Store) LoadInfo(infoHash [20]byte) ([]byte, error) {
	return s.get(bucketInfos, infoHash[:])
}

// keyNodes is the one key of bucketNodes.
var keyNodes = []byte("nodes")

// SaveNodes stores the DHT's nodes.
func (s *Store) SaveNodes(nodes []byte) error { return s.put(bucketNodes, keyNodes, nodes) }

// LoadNodes returns the DHT's nodes, or nil.
func (s *Store) LoadNodes() ([]byte, error) { return s.get(bucketNodes, keyNodes) }

func (s *Store) put(bucket, key, value []byte) error {
	return s.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		return b.Put(key, value)
	})
}

func (s *Store) get(bucket, key []byte) (value []byte, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucket); b != nil {
			value = append(value, b.Get(key)...)
		}
		return nil
	})
	return value, err
}
