package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/stream"
)

// TestStreamDoesNotStall plays the second half of a film at its bitrate. A seeder
// supplies 1.2 times that, of all of the film: what has been played before would come
// first, and without reading ahead each piece would be late.
func TestStreamDoesNotStall(t *testing.T) {
	t.Parallel()
	const pieceLength = 128 << 10
	original := clip(t, "film.mp4", endMP4...)
	encoded, err := meta.Create(t.Context(), original, meta.CreateOptions{PieceLength: pieceLength})
	if err != nil {
		t.Fatal(err)
	}
	torrent, err := meta.ParseTorrent(encoded)
	if err != nil {
		t.Fatal(err)
	}
	bitrate := torrent.Info.Length / clipSeconds
	seeder := isolated(t, client.Config{UpLimit: bitrate * 12 / 10})
	src := &meta.Source{Torrent: torrent}
	if _, err := seeder.Add(src, client.TorrentOptions{Dir: filepath.Dir(original)}); err != nil {
		t.Fatal(err)
	}
	arriving, err := isolated(t, client.Config{}).Add(src, client.TorrentOptions{
		Dir: t.TempDir(), Sequential: true, Peers: []string{seeder.TCPAddr().String()},
	})
	if err != nil {
		t.Fatal(err)
	}
	arriving.Prefetch(0)
	view := newTorrentView(arriving)
	server := stream.New(stream.Config{
		Torrents: func() []stream.Torrent { return []stream.Torrent{view} },
		Ahead:    5 * time.Second, // as short in proportion as the film
	})
	t.Cleanup(func() { server.Close() })
	play := func(w http.ResponseWriter, part string) {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/t/"+view.InfoHash()+"/0", nil)
		request.Header.Set("Range", "bytes="+part)
		server.ServeHTTP(w, request)
	}
	// Players look at the start, and at the index at the end.
	play(httptest.NewRecorder(), fmt.Sprintf("0-%d", pieceLength-1))
	play(httptest.NewRecorder(), fmt.Sprintf("-%d", pieceLength))
	player := &pacedPlayer{header: http.Header{}, server: server, bitrate: bitrate}
	play(player, fmt.Sprintf("%d-", torrent.Info.Length/2))
	if player.got < torrent.Info.Length/2 || player.stalled >= playerBuffer.Seconds()/2 { // a busy machine may pause
		t.Errorf("%d bytes of %d played, which waited for %.1f s", player.got, torrent.Info.Length/2, player.stalled)
	}
	select {
	case <-arriving.Complete():
		t.Error("all had arrived before the end of the film")
	default:
	}
}

// pacedPlayer is a ResponseWriter that takes bytes as a player does, which starts when
// it has some seconds of film and keeps as many. It looks at what stats.json has of it.
type pacedPlayer struct {
	header  http.Header
	server  *stream.Server
	bitrate int64
	got     int64
	started time.Time
	before  float64 // seconds stalled before the start
	stalled float64 // and since
}

// playerBuffer is how much of a film the player keeps.
const playerBuffer = 3 * time.Second

func (p *pacedPlayer) Header() http.Header { return p.header }
func (p *pacedPlayer) WriteHeader(int)     {}

func (p *pacedPlayer) Write(b []byte) (int, error) {
	p.got += int64(len(b))
	surplus := time.Duration(p.got*int64(time.Second)/p.bitrate) - playerBuffer
	for _, reader := range p.server.Readers() {
		p.stalled = reader.StalledSeconds - p.before
	}
	if p.started.IsZero() && surplus >= 0 {
		p.started, p.before, p.stalled = time.Now(), p.stalled, 0
	}
	if !p.started.IsZero() {
		time.Sleep(time.Until(p.started.Add(surplus)))
	}
	return len(b), nil
}
