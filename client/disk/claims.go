package disk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/causeway-bt/causeway/client/meta"
)

// bucketClaims says which torrents have a claim to a path: keys are the path, a zero
// byte, infohash and folder; values are claimValue as JSON. The info dictionaries, which
// say what lies below, are in bucketInfos.
var bucketClaims = []byte("claims")

type claimValue struct {
	Since time.Time `json:",omitzero"` // when it overwrote what was there
	Came  time.Time `json:",omitzero"` // when a run without a state began
}

// storedClaim is a claim with what is needed to know what it is to.
type storedClaim struct {
	key   claimKey
	since time.Time
	came  time.Time
	info  []byte
}

// claimsPath is a file that grows with each new claim, so that a process can see with one
// look that there are others.
func (s *Store) claimsPath() string { return filepath.Join(filepath.Dir(s.path), "claims") }

func claimDBKey(root string, key claimKey) []byte {
	return append(append([]byte(root), 0), stateKey(key.infoHash, key.dir)...)
}

// claim stores a claim, and the info dictionary. before tells whether it was there; then
// c.since may be set from it.
func (s *Store) claim(c *claimant, info *meta.Info) (before bool, err error) {
	dbKey := claimDBKey(c.root, c.key)
	changed := false
	err = s.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketClaims)
		if b == nil || tx.Bucket(bucketInfos) == nil || tx.Bucket(bucketInfos).Get(info.InfoHash[:]) == nil {
			return nil
		}
		if old := b.Get(dbKey); old != nil {
			var value claimValue
			before = json.Unmarshal(old, &value) == nil
			if c.since.IsZero() {
				c.since = value.Since
			}
			all := tx.Bucket(bucketTorrents)
			stateless := all == nil || all.Bucket(stateKey(c.key.infoHash, c.key.dir)) == nil
			changed = stateless || !c.since.Equal(value.Since)
		}
		return nil
	})
	if err != nil || before && !changed {
		return before, err
	}
	value, err := json.Marshal(claimValue{c.since, time.Now()})
	if err != nil {
		return before, err
	}
	err = s.update(func(tx *bolt.Tx) error {
		claims, err := tx.CreateBucketIfNotExists(bucketClaims)
		if err != nil {
			return err
		}
		infos, err := tx.CreateBucketIfNotExists(bucketInfos)
		if err != nil {
			return err
		}
		return errors.Join(claims.Put(dbKey, value), infos.Put(info.InfoHash[:], info.Raw))
	})
	if err != nil {
		return before, err
	}
	return before, s.tell()
}

// tell makes the file at claimsPath grow.
func (s *Store) tell() error {
	f, err := os.OpenFile(s.claimsPath(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		_, err = f.Write([]byte{'.'})
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("saving the resume state: %w; choose another folder with --state", err)
	}
	return nil
}

// unclaim removes a claim.
func (s *Store) unclaim(root string, key claimKey) error {
	return s.update(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucketClaims); b != nil {
			return b.Delete(claimDBKey(root, key))
		}
		return nil
	})
}

// claimsNear returns the claims to a path, to folders it is in, and to what is in it.
func (s *Store) claimsNear(root string) (claims []storedClaim, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		b, infos := tx.Bucket(bucketClaims), tx.Bucket(bucketInfos)
		if b == nil || infos == nil {
			return nil
		}
		collect := func(prefix []byte) {
			cursor := b.Cursor()
			for k, v := cursor.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = cursor.Next() {
				if claim, ok := readClaim(k, v, infos); ok {
					claims = append(claims, claim)
				}
			}
		}
		for folder := root; ; folder = filepath.Dir(folder) {
			collect(append([]byte(folder), 0))
			if folder == filepath.Dir(folder) {
				break
			}
		}
		collect([]byte(asFolder(root)))
		return nil
	})
	return claims, err
}

func readClaim(k, v []byte, infos *bolt.Bucket) (c storedClaim, ok bool) {
	_, id, found := bytes.Cut(k, []byte{0})
	var value claimValue
	if !found || len(id) < len(c.key.infoHash) || json.Unmarshal(v, &value) != nil {
		return c, false
	}
	copy(c.key.infoHash[:], id)
	c.key.dir = string(id[len(c.key.infoHash):])
	c.since, c.came = value.Since, value.Came
	c.info = bytes.Clone(infos.Get(c.key.infoHash[:]))
	return c, c.info != nil
}

// Entry is a torrent in a Store.
type Entry struct {
	InfoHash [20]byte
	Dir      string // absolute
	// MovingTo is the folder that it was being moved to when the process ended, "" if it
	// was not: a Storage in Dir has to finish that, with Move.
	MovingTo string
}

// bucketMoves says where torrents are being moved to, by stateKey.
var bucketMoves = []byte("moves")

// List returns what is in the store.
func (s *Store) List() (entries []Entry, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		all := tx.Bucket(bucketTorrents)
		if all == nil {
			return nil
		}
		return all.ForEachBucket(func(k []byte) error {
			e := Entry{}
			if len(k) < len(e.InfoHash) {
				return nil
			}
			copy(e.InfoHash[:], k)
			e.Dir = string(k[len(e.InfoHash):])
			if moves := tx.Bucket(bucketMoves); moves != nil {
				e.MovingTo = string(moves.Get(k))
			}
			entries = append(entries, e)
			return nil
		})
	})
	return entries, err
}

// Delete forgets a torrent in a folder: its state and its claim, and its info dictionary
// if no other folder has it.
func (s *Store) Delete(infoHash [20]byte, dir string) error {
	return s.update(func(tx *bolt.Tx) error {
		key := stateKey(infoHash, dir)
		if all := tx.Bucket(bucketTorrents); all != nil && all.Bucket(key) != nil {
			if err := all.DeleteBucket(key); err != nil {
				return err
			}
		}
		if moves := tx.Bucket(bucketMoves); moves != nil {
			if err := moves.Delete(key); err != nil {
				return err
			}
		}
		if err := deleteClaims(tx, key); err != nil {
			return err
		}
		if infos := tx.Bucket(bucketInfos); infos != nil && !isKnown(tx, infoHash) {
			return infos.Delete(infoHash[:])
		}
		return nil
	})
}

// deleteClaims deletes the claims of a torrent in a folder.
func deleteClaims(tx *bolt.Tx, key []byte) error {
	claims := tx.Bucket(bucketClaims)
	if claims == nil {
		return nil
	}
	suffix := append([]byte{0}, key...)
	var mine [][]byte
	err := claims.ForEach(func(k, _ []byte) error {
		if bytes.HasSuffix(k, suffix) {
			mine = append(mine, bytes.Clone(k))
		}
		return nil
	})
	for _, k := range mine {
		err = errors.Join(err, claims.Delete(k))
	}
	return err
}

// isKnown reports whether there is a state for an infohash, in whatever folder.
func isKnown(tx *bolt.Tx, infoHash [20]byte) bool {
	all := tx.Bucket(bucketTorrents)
	if all == nil {
		return false
	}
	k, _ := all.Cursor().Seek(infoHash[:])
	return bytes.HasPrefix(k, infoHash[:])
}

// Rename keeps the state of a torrent whose files have gone to another folder. A move
// that was noted is done with it.
func (s *Store) Rename(infoHash [20]byte, from, to string) error {
	oldKey, newKey := stateKey(infoHash, from), stateKey(infoHash, to)
	if bytes.Equal(oldKey, newKey) {
		return nil
	}
	return s.update(func(tx *bolt.Tx) error {
		if moves := tx.Bucket(bucketMoves); moves != nil {
			if err := moves.Delete(oldKey); err != nil {
				return err
			}
		}
		if err := deleteClaims(tx, oldKey); err != nil {
			return err
		}
		all := tx.Bucket(bucketTorrents)
		if all == nil || all.Bucket(oldKey) == nil {
			return nil
		}
		if all.Bucket(newKey) != nil {
			if err := all.DeleteBucket(newKey); err != nil {
				return err
			}
		}
		moved, err := all.CreateBucket(newKey)
		if err != nil {
			return err
		}
		if err := all.Bucket(oldKey).ForEach(func(k, v []byte) error {
			return moved.Put(bytes.Clone(k), bytes.Clone(v))
		}); err != nil {
			return err
		}
		return all.DeleteBucket(oldKey)
	})
}

// beginMove notes that a torrent is being moved.
func (s *Store) beginMove(infoHash [20]byte, from, to string) error {
	if abs, err := filepath.Abs(to); err == nil {
		to = abs
	}
	return s.put(bucketMoves, stateKey(infoHash, from), []byte(to))
}

// endMove notes that the move of a torrent was taken back.
func (s *Store) endMove(infoHash [20]byte, from string) error {
	return s.update(func(tx *bolt.Tx) error {
		if moves := tx.Bucket(bucketMoves); moves != nil {
			return moves.Delete(stateKey(infoHash, from))
		}
		return nil
	})
}

// MovingTo returns the folder that a torrent was being moved to when the process ended,
// or "". See Entry.
func (s *Store) MovingTo(infoHash [20]byte, dir string) (string, error) {
	to, err := s.get(bucketMoves, stateKey(infoHash, dir))
	return string(to), err
}
