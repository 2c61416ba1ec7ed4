package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/stream"
	"github.com/causeway-bt/causeway/stream/access"
)

// isolated is a client that talks to nobody but the peers it is told of.
func isolated(t *testing.T, config client.Config) *client.Client {
	t.Helper()
	config.ListenHost = "127.0.0.1"
	config.DisableDHT, config.DisableLSD, config.DisableTrackers, config.DisableWebRTC = true, true, true, true
	engine, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	return engine
}

// descriptors is how many files and sockets the process has open, 0 where that
// cannot be counted.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// TestStreamManyReaders: a hundred readers of one file while it arrives, half of
// which seek at random and go away in the middle, leave nothing behind.
func TestStreamManyReaders(t *testing.T) {
	const readers = 100
	root, info := filmFolder(t)
	src, err := meta.Load(t.Context(), filepath.Join(root, "films.torrent"), nil)
	if err != nil {
		t.Fatal(err)
	}
	seeder := isolated(t, client.Config{UpLimit: 300 << 10})
	if _, err := seeder.Add(src, client.TorrentOptions{Dir: root}); err != nil {
		t.Fatal(err)
	}
	chosen, err := choose(info, &streamFlags{}, "")
	if err != nil {
		t.Fatal(err)
	}
	torrent, err := isolated(t, client.Config{}).Add(src, client.TorrentOptions{
		Dir: t.TempDir(), Sequential: true, Select: chosen.selection(), Peers: []string{seeder.TCPAddr().String()},
	})
	if err != nil {
		t.Fatal(err)
	}
	view := newTorrentView(torrent)
	ln, err := access.Listen(t.Context(), nil, "127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	server := stream.New(stream.Config{Listen: ln.Addr(), Torrents: func() []stream.Torrent { return []stream.Torrent{view} }})
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(ln) })
	t.Cleanup(func() { server.Close(); serving.Wait() })
	url := server.Links(ln.Addr()).File(view, chosen.files[0])
	want, err := os.ReadFile(filepath.Join(root, "Films", "Film 1.mkv"))
	if err != nil {
		t.Fatal(err)
	}
	goroutines, files := runtime.NumGoroutine(), descriptors()

	transport := &http.Transport{}
	read := func(from, n int64, ctx context.Context) ([]byte, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		request.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
		response, err := transport.RoundTrip(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		return io.ReadAll(io.LimitReader(response.Body, n))
	}
	var all sync.WaitGroup
	for i := range readers {
		all.Go(func() {
			if i%2 == 0 {
				if got, err := read(0, int64(len(want)), t.Context()); err != nil || string(got) != string(want) {
					t.Errorf("reader %d got %d bytes: %v", i, len(got), err)
				}
				return
			}
			random := rand.New(rand.NewPCG(2, uint64(i)))
			for range 5 {
				from := random.Int64N(int64(len(want)))
				// Some go while they wait, the others after some bytes.
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+random.IntN(500))*time.Millisecond)
				got, _ := read(from, 1000, ctx)
				cancel()
				if string(got) != string(want[from:from+int64(len(got))]) {
					t.Errorf("reader %d got other bytes at %d", i, from)
				}
			}
		})
	}
	all.Wait()
	transport.CloseIdleConnections()
	eventually(t, "the readers to be gone", func() bool { return len(server.Readers()) == 0 })
	// The engine keeps the file open, and the peer's connection came after the count.
	const few = 12
	eventually(t, "goroutines and descriptors to return", func() bool {
		return runtime.NumGoroutine() <= goroutines+few && descriptors() <= files+few
	})
}

// eventually waits for a condition that nothing announces.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patient)
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s: %d goroutines, %d descriptors", what, runtime.NumGoroutine(), descriptors())
		}
	}
}
