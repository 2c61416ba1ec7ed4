package stream_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/causeway-bt/causeway/stream"
)

// brittle is a file whose readers panic, as a bug in what reads strangers' bytes would.
type brittle struct {
	*fakeFile
	read func() // what Read does first
}

func (f *brittle) Open(ctx context.Context) (stream.Reader, error) {
	r, err := f.fakeFile.Open(ctx)
	return &brittleReader{r, f}, err
}

type brittleReader struct {
	stream.Reader
	f *brittle
}

func (r *brittleReader) Read(p []byte) (int, error) {
	r.f.read()
	return r.Reader.Read(p)
}

type brittleTorrent struct {
	*fakeTorrent
	file stream.File
}

func (t *brittleTorrent) Files() []stream.File { return []stream.File{t.file} }

// lockedBuffer takes a log of many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestPanicsEndOneResponse: neither handlers nor the goroutines beside them, which
// net/http does not guard, end the process.
func TestPanicsEndOneResponse(t *testing.T) {
	for name, header := range map[string]string{
		"a handler": "bytes=1-", "the goroutine of several ranges": "bytes=0-9,20-29",
	} {
		t.Run(name, func(t *testing.T) {
			var log lockedBuffer
			file := &brittle{newFile("a.mp4", randomBytes(1000)).complete(), func() { panic("brittle") }}
			torrent := &brittleTorrent{newTorrent(), file}
			s := stream.New(stream.Config{
				Torrents: func() []stream.Torrent { return []stream.Torrent{torrent} },
				Logger:   slog.New(slog.NewTextHandler(&log, nil)),
			})
			base := servedBy(t, s)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/t/"+fakeHash+"/0", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Range", header)
			if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
				if _, err := bytes.NewBuffer(nil).ReadFrom(res.Body); err == nil {
					t.Error("a broken response looks complete")
				}
				res.Body.Close()
			}
			if res := do(t, http.MethodGet, base+"/"); res.StatusCode != http.StatusOK {
				t.Errorf("afterwards: %s", res.Status)
			}
			// The bitrate was looked for as well, beside the response.
			await(t, "the log", func() bool { return strings.Count(log.String(), "guard.go") >= 2 })
		})
	}
}

// TestSubtitlesInMemoryAreBounded, and those that are too many are told to come again.
func TestSubtitlesInMemoryAreBounded(t *testing.T) {
	var files []*fakeFile
	for i := range 12 {
		files = append(files, newFile(fmt.Sprintf("%d.srt", i), make([]byte, 8<<20)))
	}
	torrent := newTorrent(append(files, newFile("small.srt", []byte("x")).complete())...)
	_, base := serve(t, stream.Config{}, torrent)
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for i := range 8 {
		asking.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/t/%s/%d.vtt", base, fakeHash, i), nil)
			if err != nil {
				t.Error(err)
				return
			}
			if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
				res.Body.Close()
				t.Errorf("%d: %s", i, res.Status)
			}
		})
		files[i].await(t, "the reader", func() bool { return files[i].opened == 1 })
	}
	res := do(t, http.MethodGet, base+"/t/"+fakeHash+"/8.vtt")
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || files[8].opened != 0 {
		t.Errorf("one more: %s", res.Status)
	}
	cancel()
	asking.Wait()
	files[0].await(t, "the readers' end", func() bool { return len(files[0].readers) == 0 })
	await(t, "room for others", func() bool {
		return do(t, http.MethodGet, base+"/t/"+fakeHash+"/12.vtt").StatusCode != http.StatusServiceUnavailable
	})
}
