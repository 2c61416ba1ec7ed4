package disk

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/causeway-bt/causeway/wire"
)

func hexHash(tr *torrent) string { return hex.EncodeToString(tr.InfoHash[:]) }

func TestStoreRoundTrip(t *testing.T) {
	dir := t.TempDir()
	store := NewStore(filepath.Join(dir, "state"))
	hash := [20]byte{1}
	if st, err := store.Load(hash, dir); st != nil || err != nil {
		t.Errorf("before anything was saved: %v, %v", st, err)
	}
	if exists(filepath.Join(dir, "state")) {
		t.Error("looking for a state makes a file")
	}
	want := &State{
		Have: wire.Bitfield{0xff, 0x80}, Synced: wire.Bitfield{0xf0, 0}, Stamps: []Stamp{{-1, 0}, {1 << 40, 1234567890123456789}},
		Clean: true, Boot: "b", Saved: time.Now().Round(0), Uploaded: 5, Downloaded: 1 << 50,
	}
	for range 2 { // the second replaces the first
		if err := store.Save(hash, dir, want); err != nil {
			t.Fatal(err)
		}
		got, err := NewStore(filepath.Join(dir, "state")).Load(hash, dir)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Saved.Equal(want.Saved) {
			t.Errorf("saved at %v, loaded %v", want.Saved, got.Saved)
		}
		got.Saved = want.Saved
		if !reflect.DeepEqual(got, want) {
			t.Errorf("saved %+v, loaded %+v", want, got)
		}
		want.Have = wire.Bitfield{1, 0}
	}
	if st, err := store.Load(hash, filepath.Join(dir, "elsewhere")); st != nil || err != nil {
		t.Errorf("the state of another folder: %v, %v", st, err)
	}
	if st, err := store.Load([20]byte{2}, dir); st != nil || err != nil {
		t.Errorf("the state of another torrent: %v, %v", st, err)
	}
}

func TestStoreOfInfosAndNodes(t *testing.T) {
	store := NewStore(t.TempDir())
	if raw, err := store.LoadInfo([20]byte{1}); raw != nil || err != nil {
		t.Errorf("nothing was saved: %q, %v", raw, err)
	}
	if err := store.SaveInfo([20]byte{1}, []byte("info")); err != nil {
		t.Fatal(err)
	}
	if err := store.SaveNodes([]byte("nodes")); err != nil {
		t.Fatal(err)
	}
	info, err1 := store.LoadInfo([20]byte{1})
	nodes, err2 := store.LoadNodes()
	if string(info) != "info" || string(nodes) != "nodes" || err1 != nil || err2 != nil {
		t.Errorf("loaded %q, %v and %q, %v", info, err1, nodes, err2)
	}
}

func TestStoresShareAFile(t *testing.T) {
	dir := t.TempDir()
	stores := []*Store{NewStore(dir), NewStore(dir)}
	var users sync.WaitGroup
	for i := range 40 {
		users.Go(func() {
			hash := [20]byte{byte(i)}
			if err := stores[i%2].Save(hash, dir, &State{Have: wire.Bitfield{byte(i)}}); err != nil {
				t.Error(err)
			}
			if st, err := stores[1-i%2].Load(hash, dir); err != nil || st == nil || st.Have[0] != byte(i) {
				t.Errorf("state %d: %v, %v", i, st, err)
			}
		})
	}
	users.Wait()
}

func TestStateOfAnotherVersion(t *testing.T) {
	dir := t.TempDir()
	store, hash := NewStore(dir), [20]byte{1}
	if err := store.Save(hash, dir, &State{Clean: true}); err != nil {
		t.Fatal(err)
	}
	write := func(json string) {
		err := store.update(func(tx *bolt.Tx) error {
			return tx.Bucket(bucketTorrents).Bucket(stateKey(hash, dir)).Put(keyRest, []byte(json))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	write(`{"Clean":true,"Future":[1,2]}`)
	if st, err := store.Load(hash, dir); err != nil || st == nil || !st.Clean {
		t.Errorf("with a field that is new: %+v, %v", st, err)
	}
	for _, other := range []string{`{"Clean":"yes"}`, `[]`, ``, `{`} {
		write(other)
		if st, err := store.Load(hash, dir); st != nil || err != nil {
			t.Errorf("%q: %+v, %v; want no state and no error", other, st, err)
		}
	}
}

func TestDamagedStore(t *testing.T) {
	dir := t.TempDir()
	store, path := NewStore(dir), filepath.Join(dir, "resume.db")
	for i := range 50 {
		if err := store.Save([20]byte{byte(i)}, dir, &State{Have: make([]byte, 3000)}); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for name, damaged := range map[string][]byte{
		"rubbish":        bytes.Repeat([]byte("rubbish "), 10000),
		"rubbish, short": []byte("rubbish"),
		"cut":            whole[:2*page],
		"cut later":      whole[:len(whole)/2],
		"pages of FF":    append(bytes.Clone(whole[:2*page]), bytes.Repeat([]byte{0xff}, len(whole)-2*page)...),
		"pages of zeros": append(bytes.Clone(whole[:2*page]), make([]byte, len(whole)-2*page)...),
	} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := store.Load([20]byte{1}, dir)
		if err == nil {
			err = store.Save([20]byte{1}, dir, &State{})
		}
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove it to start afresh") || strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: %v; want what is damaged, and what to do", name, err)
		}
	}
}

func TestStoreInAFolderThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	err := NewStore(filepath.Join(file, "state")).SaveNodes(nil)
	if err == nil || !strings.Contains(fmt.Sprint(err), "--state") {
		t.Errorf("%v; want an error that says what to do", err)
	}
}
