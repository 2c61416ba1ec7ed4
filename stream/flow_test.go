package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-bt/causeway/stream"
)

func TestResponseStaysOpenWhilePeersStarve(t *testing.T) {
	data := randomBytes(300_000)
	for _, disk := range []bool{false, true} {
		file := newFile("a.mp4", data)
		if disk {
			file.onDisk(t)
		}
		_, base := serve(t, stream.Config{}, newTorrent(file))
		// Headers come before the first byte is there.
		res := do(t, http.MethodGet, base+"/t/"+fakeHash+"/0", "Range", "bytes=1000-")
		if res.StatusCode != http.StatusPartialContent {
			t.Fatal(res.Status)
		}
		for i := range file.have {
			first, end := i*fakePiece, min((i+1)*fakePiece, len(data))
			file.verify(i)
			got := make([]byte, end-max(first, 1000))
			if _, err := io.ReadFull(res.Body, got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, data[end-len(got):end]) {
				t.Fatalf("piece %d differs", i)
			}
		}
		if n, err := io.Copy(io.Discard, res.Body); n != 0 || err != nil {
			t.Fatalf("%d bytes too many, %v", n, err)
		}
	}
}

func TestClientThatGoesAwayFreesItsReaderAtOnce(t *testing.T) {
	file := newFile("a.mp4", randomBytes(1<<20))
	file.verify(0)
	_, base := serve(t, stream.Config{}, newTorrent(file))
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/t/"+fakeHash+"/0", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.CopyN(io.Discard, res.Body, fakePiece); err != nil {
		t.Fatal(err)
	}
	file.await(t, "a reader", func() bool { return len(file.readers) > 0 })
	cancel()
	file.await(t, "the reader's end", func() bool { return len(file.readers) == 0 })
}

func TestOnlyBodiesOpenTheFile(t *testing.T) {
	file := newFile("a.bin", randomBytes(100_000)).complete()
	_, base := serve(t, stream.Config{}, newTorrent(file))
	link := base + "/t/" + fakeHash + "/0"
	do(t, http.MethodHead, link)
	do(t, http.MethodGet, link, "Range", "bytes=100000-")
	do(t, http.MethodGet, link, "If-None-Match", "*")
	if file.opened != 0 {
		t.Errorf("opened %d times for responses without content", file.opened)
	}
}

// TestWindows looks at what readers are told to fetch ahead.
func TestWindows(t *testing.T) {
	for _, tc := range []struct {
		name, header string
		want         func(w int64) bool
	}{
		{"a probe wants its range only", "bytes=0-99999", func(w int64) bool { return w == 100_000 }},
		{"one byte", "bytes=5000000-5000000", func(w int64) bool { return w == 1 }},
		{"the tail", "bytes=-300000", func(w int64) bool { return w == 300_000 }},
		{"play from the start", "bytes=0-", func(w int64) bool { return w >= 4<<20 && w < 20<<20 }},
		{"play from near the end", "bytes=18874368-", func(w int64) bool { return w == 2<<20 }},
		{"a long bounded range is playback", "bytes=0-3999999", func(w int64) bool { return w >= 4<<20 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := newFile("a.avi", make([]byte, 20<<20))
			_, base := serve(t, stream.Config{}, newTorrent(file))
			do(t, http.MethodGet, base+"/t/"+fakeHash+"/0", "Range", tc.header)
			var got int64
			file.await(t, "the window", func() bool {
				for r := range file.readers {
					got = r.window
				}
				return got != 0
			})
			if !tc.want(got) {
				t.Errorf("window of %d bytes", got)
			}
		})
	}
}

func TestClientThatStopsReadingIsDropped(t *testing.T) {
	// More than the socket buffers of both sides hold.
	file := newFile("a.mp4", make([]byte, 64<<20)).complete().onDisk(t)
	_, base := serve(t, stream.Config{ClientTimeout: 50 * time.Millisecond}, newTorrent(file))
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /t/%s/0 HTTP/1.1\r\nHost: localhost\r\n\r\n", fakeHash)
	file.await(t, "a reader", func() bool { return file.opened > 0 })
	file.await(t, "the reader's end", func() bool { return len(file.readers) == 0 })
}

func TestCloseEndsBlockedResponses(t *testing.T) {
	file := newFile("a.mp4", randomBytes(1<<20))
	s, base := serve(t, stream.Config{}, newTorrent(file))
	whole := do(t, http.MethodGet, base+"/t/"+fakeHash+"/0")
	several := do(t, http.MethodGet, base+"/t/"+fakeHash+"/0", "Range", "bytes=0-9,100-109")
	file.await(t, "the readers", func() bool { return len(file.readers) >= 2 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(file.readers) != 0 {
		t.Errorf("%d readers are left", len(file.readers))
	}
	for _, res := range []*http.Response{whole, several} {
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("a cut response looks complete")
		}
	}
	if res := do(t, http.MethodGet, base+"/"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after Close: %s", res.Status)
	}
}

func TestServeUntilClose(t *testing.T) {
	file := newFile("a.mp4", []byte("hello")).complete()
	s := stream.New(stream.Config{Torrents: func() []stream.Torrent { return []stream.Torrent{newTorrent(file)} }})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	if body := bodyOf(t, do(t, http.MethodGet, s.Links(ln.Addr()).File(newTorrent(file), 0))); body != "hello" {
		t.Errorf("got %q", body)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestFileCutOnDiskEndsTheResponseEarly(t *testing.T) {
	file := newFile("a.mp4", randomBytes(1<<20)).complete().onDisk(t)
	if err := os.Truncate(file.disk, 500_000); err != nil {
		t.Fatal(err)
	}
	_, base := serve(t, stream.Config{}, newTorrent(file))
	res := do(t, http.MethodGet, base+"/t/"+fakeHash+"/0")
	if _, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

// TestHundredReadersLeaveNothing has half of the readers seek at random, while
// the file is downloaded, and leave in the middle.
func TestHundredReadersLeaveNothing(t *testing.T) {
	data := randomBytes(4 << 20)
	file := newFile("a.mp4", data).onDisk(t)
	_, base := serve(t, stream.Config{}, newTorrent(file))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: -1}}
	before := openFiles(t)
	ctx, cancel := context.WithCancel(t.Context())
	var supply, readers sync.WaitGroup
	supply.Go(func() { file.supply(ctx, 3*time.Millisecond) })
	for i := range 100 {
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			seeks := 1
			if i%2 == 0 {
				seeks = 8
			}
			for n := range seeks {
				off, length := 0, len(data)
				if seeks > 1 {
					off = rnd.IntN(len(data) - 1)
					length = rnd.IntN(min(len(data)-off, 300_000))
				}
				if err := readPart(ctx, client, base, data, off, length); err != nil {
					t.Errorf("reader %d, part %d: %v", i, n, err)
				}
			}
		})
	}
	readers.Wait()
	cancel()
	supply.Wait()
	file.await(t, "all readers' end", func() bool { return len(file.readers) == 0 })
	// Connections close a moment after their responses.
	for deadline := time.Now().Add(10 * time.Second); openFiles(t) > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d files open, %d before", openFiles(t), before)
		}
	}
}

// readPart asks for all from off on, reads length bytes, and goes away.
func readPart(ctx context.Context, client *http.Client, base string, data []byte, off, length int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/t/"+fakeHash+"/0", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-", off))
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got := make([]byte, length)
	if _, err := io.ReadFull(res.Body, got); err != nil {
		return err
	}
	if !bytes.Equal(got, data[off:off+length]) {
		return errors.New("wrong bytes")
	}
	return nil
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0 // no such list on this system; goleak still watches
	}
	return len(entries)
}

// TestPlaybackDoesNotStall plays twenty minutes by a clock of its own: a player
// that keeps half a second buffered reads at the bitrate, peers supply 1.2 times
// that, and once started it never runs dry. Without windows it would: a piece is
// half a second late if it is asked for only when the one before has been read.
func TestPlaybackDoesNotStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			bitrate  = fakePiece // bytes per second
			playtime = 20 * time.Minute
		)
		file := newFile("film.avi", make([]byte, bitrate*int(playtime/time.Second)))
		s := stream.New(stream.Config{Torrents: func() []stream.Torrent { return []stream.Torrent{newTorrent(file)} }})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { file.supply(ctx, time.Second*10/12) })

		player := &pacedPlayer{header: http.Header{}, bitrate: bitrate, ahead: bitrate / 2}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/t/"+fakeHash+"/0", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "localhost"
		s.ServeHTTP(player, r)
		cancel()
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if player.got != len(file.data) || player.stalls != 0 {
			t.Errorf("%d bytes of %d, %d stalls", player.got, len(file.data), player.stalls)
		}
	})
}

// pacedPlayer is a ResponseWriter that takes bytes as a player does: it starts
// after two seconds' worth, keeps so much ahead, and notes when it runs dry.
type pacedPlayer struct {
	header  http.Header
	bitrate float64
	ahead   int
	got     int
	started time.Time
	stalls  int
}

func (p *pacedPlayer) Header() http.Header { return p.header }
func (p *pacedPlayer) WriteHeader(int)     {}

func (p *pacedPlayer) Write(b []byte) (int, error) {
	if !p.started.IsZero() && time.Since(p.started).Seconds()*p.bitrate > float64(p.got) {
		p.stalls++
	}
	p.got += len(b)
	if p.started.IsZero() && float64(p.got) >= 2*p.bitrate {
		p.started = time.Now()
	}
	if !p.started.IsZero() {
		surplus := float64(p.got-p.ahead) - time.Since(p.started).Seconds()*p.bitrate
		if surplus > 0 {
			time.Sleep(time.Duration(surplus / p.bitrate * float64(time.Second)))
		}
	}
	return len(b), nil
}
