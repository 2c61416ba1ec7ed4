package main

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/share"
	"github.com/causeway-bt/causeway/stream"
	"github.com/causeway-bt/causeway/stream/media"
	"github.com/causeway-bt/causeway/web"
)

// maxMatchedShared is the largest number of files among which subtitles are matched with
// videos, each with each.
const maxMatchedShared = 2000

// sharedTorrent shows packages share and stream a torrent of the engine.
type sharedTorrent struct {
	torrent  *client.Torrent
	trackers []string // of its source
	seeds    []string // web seeds of its source

	view      atomic.Pointer[torrentView] // its files, once they are known
	described atomic.Pointer[web.Torrent]
	meter     swarmMeter
}

var _ share.Torrent = (*sharedTorrent)(nil)

func newSharedTorrent(torrent *client.Torrent) *sharedTorrent {
	t := &sharedTorrent{torrent: torrent}
	t.view.Store(newTorrentView(torrent))
	return t
}

// files returns the torrent as package stream sees it, and whether its files are known.
func (t *sharedTorrent) files() (*torrentView, bool) {
	view := t.view.Load()
	if !view.known() && t.torrent.Info() != nil {
		view = newTorrentView(t.torrent)
		t.view.Store(view)
	}
	return view, view.known()
}

func (t *sharedTorrent) InfoHash() string { return t.view.Load().InfoHash() }

// Describe makes what does not change once.
func (t *sharedTorrent) Describe() web.Torrent {
	if d := t.described.Load(); d != nil {
		return *d
	}
	view, known := t.files()
	d := web.Torrent{InfoHash: view.InfoHash(), Name: view.Name(), Pending: !known, Files: []web.File{}}
	if !known {
		return d
	}
	info := t.torrent.Info()
	d.Length, d.PieceLength = info.Length, info.PieceLength
	files := view.Files()
	var links stream.Links // without a base: paths
	subtitles := media.NewMatcher(files)
	for i, f := range files {
		kind := media.KindOf(f.Path())
		file := web.File{Index: i, Path: f.Path(), Length: f.Length(), Kind: kind.String(), Type: media.Type(f.Path())}
		if !info.Files[i].Pad {
			file.URL = links.File(view, i)
		}
		if kind == media.Video && len(files) <= maxMatchedShared {
			for _, sub := range subtitles.Subtitles(i) {
				file.Subtitles = append(file.Subtitles, web.Subtitle{Index: sub, Label: media.Stem(files[sub].Path())})
			}
		}
		d.Files = append(d.Files, file)
	}
	t.described.Store(&d)
	return d
}

// Status is asked for by each page.
func (t *sharedTorrent) Status() web.TorrentStatus {
	stats := t.meter.look(t.torrent)
	return web.TorrentStatus{
		InfoHash: t.InfoHash(), Completed: stats.Completed,
		Classic: web.Swarm{Peers: stats.Peers.TCP + stats.Peers.UTP + stats.Peers.WebSeed, Down: stats.down, Up: stats.up},
		Web:     web.Swarm{Peers: stats.Peers.WebRTC, Down: stats.downWeb, Up: stats.upWeb},
		Bridged: web.Bridged{ToWeb: stats.BridgedToWeb, ToClassic: stats.BridgedToClassic},
	}
}

var errNoMetadata = errors.New("the metadata is not known yet")

// File makes the .torrent file; our own trackers come first.
func (t *sharedTorrent) File(trackers, webSeeds []string) ([]byte, error) {
	info := t.torrent.Info()
	if info == nil {
		return nil, errNoMetadata
	}
	return meta.Encode(info, withNew(trackers, t.trackers), withNew(webSeeds, t.seeds))
}

// Magnet makes the magnet link.
func (t *sharedTorrent) Magnet(trackers, webSeeds []string) string {
	m := meta.Magnet{
		InfoHash: t.torrent.InfoHash(), Name: t.torrent.Name(),
		Trackers: withNew(trackers, t.trackers), WebSeeds: withNew(webSeeds, t.seeds),
	}
	if info := t.torrent.Info(); info != nil {
		m.InfoHashV2 = info.InfoHashV2
	}
	return m.String()
}

// withNew returns ours and those of others that are not among them.
func withNew(ours, others []string) []string {
	all := slices.Clone(ours)
	for _, other := range others {
		if !slices.Contains(all, other) {
			all = append(all, other)
		}
	}
	return all
}

// swarmMeter measures the rates of a torrent in both swarms, whoever asks and how often.
type swarmMeter struct {
	mu   sync.Mutex
	last swarmStats
	at   time.Time
}

// swarmStats are the figures of a torrent with the rates of each swarm, in bytes per second.
type swarmStats struct {
	client.Stats
	down, up, downWeb, upWeb int64
}

// meterEvery is how old figures may be that are told.
const meterEvery = time.Second

func (m *swarmMeter) look(torrent *client.Torrent) swarmStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	passed := now.Sub(m.at)
	if passed < meterEvery {
		return m.last
	}
	s := swarmStats{Stats: torrent.Stats()}
	if !m.at.IsZero() {
		rate := func(n, before int64) int64 { return int64(float64(n-before) / passed.Seconds()) }
		s.downWeb, s.upWeb = rate(s.DownloadedWeb, m.last.DownloadedWeb), rate(s.UploadedWeb, m.last.UploadedWeb)
		s.down = rate(s.Downloaded, m.last.Downloaded) - s.downWeb
		s.up = rate(s.Uploaded, m.last.Uploaded) - s.upWeb
	}
	m.last, m.at = s, now
	return s
}
