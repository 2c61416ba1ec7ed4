package client

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/wire"
)

// makePair makes a torrent of two files, a and b, of whole pieces of 64 KiB.
func makePair(t *testing.T, piecesOfA, piecesOfB int) (torrent *meta.Torrent, data []byte) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pair")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"a", "b"} {
		file := bytes.Repeat([]byte{byte(i + 1)}, []int{piecesOfA, piecesOfB}[i]*64<<10)
		if err := os.WriteFile(filepath.Join(dir, name), file, 0o666); err != nil {
			t.Fatal(err)
		}
		data = append(data, file...)
	}
	raw, err := meta.Create(context.Background(), dir, meta.CreateOptions{PieceLength: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if torrent, err = meta.ParseTorrent(raw); err != nil {
		t.Fatal(err)
	}
	return torrent, data
}

// A short look at a file that was not selected must not make all of it wanted.
func TestClosedReaderOfAnUnselectedFileWantsNothing(t *testing.T) {
	torrent, data := makePair(t, 4, 100)
	s := newScripted(t, torrent.Info.InfoHash, func(c *scriptedConn) {
		c.send(wire.Message{ID: wire.HaveAll}, wire.Message{ID: wire.Unchoke})
	}, func(c *scriptedConn, m *wire.Message) {
		if m.ID == wire.Request {
			time.Sleep(5 * time.Millisecond) // the reader is gone long before its window is there
			c.send(block(data, torrent.Info, m))
		}
	})
	leech := add(t, newClient(t, plain(t)), &meta.Source{Torrent: torrent}, TorrentOptions{Dir: t.TempDir(), Select: "0"})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, err := leech.OpenFile(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	r.SetWindow(100 * 64 << 10)
	leech.AddPeers([]string{s.addr()})
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	within(t, 20*time.Second, "the selected file", leech, leech.Complete())
	if s := leech.Stats(); s.State != StateSeeding || s.Completed > 50*64<<10 {
		t.Errorf("%s with %d bytes; only %d were selected", s.State, s.Completed, 4*64<<10)
	}
}
