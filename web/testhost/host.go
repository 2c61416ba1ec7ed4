// Package testhost is a small host for package web's page: it shares a file or folder over
// HTTP as `causeway share` does, without a swarm of its own. Tests and web/preview put a
// tracker and peers beside it.
package testhost

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"
	"golang.org/x/time/rate"

	"github.com/causeway-bt/causeway/web"
)

// Options describe what is shared.
type Options struct {
	Path        string   // a file or a folder
	PieceLength int64    // 0: 64 KiB
	Announce    []string // WebSocket trackers
	ICE         []web.ICEServer
	Listen      string // default: any port on 127.0.0.1
	// Limit holds back the bytes of files over HTTP, per second; 0: none.
	Limit int
	// Receive takes uploads into this folder, if set.
	Receive string
	// Fetch, if set, is to fetch the torrents that pages seed for us, and to call Saved.
	Fetch func(torrent []byte)
}

// Host is a running one.
type Host struct {
	Torrent  []byte // the .torrent file
	InfoHash string
	Addr     string
	Requests atomic.Int64 // for bytes of files
	Served   atomic.Int64 // bytes of files

	o       Options
	info    metainfo.Info
	run     string
	server  *http.Server
	limiter *rate.Limiter
	status  atomic.Pointer[web.TorrentStatus]
	uploads uploads
	mu      sync.Mutex
}

// Start makes a torrent of what is shared and serves it.
func Start(o Options) (*Host, error) {
	if o.PieceLength == 0 {
		o.PieceLength = 64 << 10
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	h := &Host{o: o, limiter: rate.NewLimiter(rate.Inf, 0)}
	if o.Limit > 0 {
		h.limiter = rate.NewLimiter(rate.Limit(o.Limit), o.Limit/4+1)
	}
	if err := h.make(); err != nil {
		return nil, err
	}
	return h, h.Restart()
}

func (h *Host) make() error {
	h.info = metainfo.Info{PieceLength: h.o.PieceLength}
	if err := h.info.BuildFromFilePath(h.o.Path); err != nil {
		return fmt.Errorf("make a torrent of %s: %w", h.o.Path, err)
	}
	var err error
	m := metainfo.MetaInfo{AnnounceList: [][]string{h.o.Announce}}
	if m.InfoBytes, err = bencode.Marshal(h.info); err != nil {
		return err
	}
	h.InfoHash = m.HashInfoBytes().HexString()
	var b bytes.Buffer
	err = m.Write(&b)
	h.Torrent = b.Bytes()
	return err
}

// Restart serves, on the port that it had if it had one.
func (h *Host) Restart() error {
	listen := h.o.Listen
	if h.Addr != "" {
		listen = h.Addr
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Addr = ln.Addr().String()
	h.run = random()
	h.server = &http.Server{Handler: h.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func(s *http.Server) { _ = s.Serve(ln) }(h.server)
	return nil
}

// Close ends serving; Restart begins again.
func (h *Host) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.server.Close()
}

// URL is the link.
func (h *Host) URL() string { return "http://" + h.Addr + "/" }

// SetStatus has pages be told these figures.
func (h *Host) SetStatus(s web.TorrentStatus) { s.InfoHash = h.InfoHash; h.status.Store(&s) }

// Saved says that what a page seeded is there.
func (h *Host) Saved() { h.uploads.saved.Store(true) }

func random() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (h *Host) routes() http.Handler {
	mux := http.NewServeMux()
	run := h.run
	mux.Handle("/", web.New(web.Options{
		Share: func(*http.Request) web.Share { return h.Share() },
		Status: func(*http.Request) web.Status {
			s := web.TorrentStatus{InfoHash: h.InfoHash, Completed: h.info.TotalLength()}
			if set := h.status.Load(); set != nil {
				s = *set
			}
			return web.Status{Run: run, Torrents: []web.TorrentStatus{s}}
		},
	}))
	mux.HandleFunc("GET /t/{file}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-bittorrent")
		_, _ = w.Write(h.Torrent)
	})
	mux.HandleFunc("GET /f/{index}/{name}", h.serveFile)
	if h.o.Receive != "" {
		h.uploads.fetch = h.o.Fetch
		h.uploads.register(mux, h.o.Receive)
	}
	return mux
}

// Share is what it shares.
func (h *Host) Share() web.Share {
	s := web.Share{Torrents: []web.Torrent{h.describe()}, Announce: h.o.Announce, ICE: h.o.ICE}
	if h.o.Receive != "" {
		s.Receive = &web.Receive{URL: "/receive", MaxBytes: maxUpload, MaxFiles: maxUploadFiles}
	}
	return s
}

func (h *Host) describe() web.Torrent {
	t := web.Torrent{
		InfoHash: h.InfoHash, Name: h.info.Name, Length: h.info.TotalLength(), PieceLength: h.info.PieceLength,
		Torrent: "/t/" + h.InfoHash + ".torrent", Magnet: "magnet:?xt=urn:btih:" + h.InfoHash + "&dn=" + url.QueryEscape(h.info.Name),
	}
	for i, f := range h.info.UpvertedFiles() {
		name := strings.Join(f.Path, "/")
		if name == "" {
			name = h.info.Name
		}
		kind := kinds[strings.ToLower(path.Ext(name))]
		if kind == "" {
			kind = "other"
		}
		t.Files = append(t.Files, web.File{
			Index: i, Path: name, Length: f.Length, Kind: kind,
			Type: types[strings.ToLower(path.Ext(name))],
			URL:  fmt.Sprintf("/f/%d/%s", i, url.PathEscape(short(path.Base(name)))),
		})
	}
	for i := range t.Files {
		addSubtitles(&t.Files[i], t.Files)
	}
	return t
}

// short keeps URLs within what servers take.
func short(name string) string {
	const most = 100
	if len(name) > most {
		return "file" + path.Ext(name)
	}
	return name
}

func addSubtitles(video *web.File, files []web.File) {
	if video.Kind != "video" {
		return
	}
	stem := strings.TrimSuffix(video.Path, path.Ext(video.Path))
	for _, f := range files {
		if f.Kind == "subtitle" && strings.HasPrefix(f.Path, stem) {
			label := strings.Trim(strings.TrimSuffix(strings.TrimPrefix(f.Path, stem), path.Ext(f.Path)), ".")
			if label == "" {
				label = "Subtitles"
			}
			video.Subtitles = append(video.Subtitles, web.Subtitle{Index: f.Index, Label: label})
		}
	}
}

func (h *Host) serveFile(w http.ResponseWriter, r *http.Request) {
	index, err := strconv.Atoi(r.PathValue("index"))
	files := h.info.UpvertedFiles()
	if err != nil || index < 0 || index >= len(files) {
		http.NotFound(w, r)
		return
	}
	f, err := os.Open(filepath.Join(append([]string{h.o.Path}, files[index].Path...)...))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer f.Close()
	h.Requests.Add(1)
	if r.URL.Query().Get("download") == "1" {
		w.Header().Set("Content-Disposition", "attachment")
	}
	if t := types[strings.ToLower(path.Ext(f.Name()))]; t != "" {
		w.Header().Set("Content-Type", t)
	}
	http.ServeContent(&counted{w, r, h}, r, "", time.Time{}, f)
}

// counted counts and limits what leaves.
type counted struct {
	http.ResponseWriter
	r *http.Request
	h *Host
}

func (c *counted) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		part := p
		if burst := c.h.limiter.Burst(); burst > 0 && len(part) > burst {
			part = part[:burst]
		}
		if c.h.o.Limit > 0 {
			if err := c.h.limiter.WaitN(c.r.Context(), len(part)); err != nil {
				return total, err
			}
		}
		n, err := c.ResponseWriter.Write(part)
		total += n
		c.h.Served.Add(int64(n))
		if err != nil {
			return total, err
		}
		p = p[n:]
	}
	return total, nil
}

var kinds = map[string]string{
	".mp4": "video", ".webm": "video", ".mkv": "video", ".mov": "video", ".avi": "video",
	".mp3": "audio", ".ogg": "audio", ".opus": "audio", ".flac": "audio", ".m4a": "audio",
	".srt": "subtitle", ".vtt": "subtitle", ".ass": "subtitle",
	".png": "image", ".jpg": "image", ".webp": "image", ".txt": "text", ".nfo": "text", ".md": "text",
}

var types = map[string]string{
	".mp4": "video/mp4", ".webm": "video/webm", ".mkv": "video/x-matroska", ".mp3": "audio/mpeg", ".opus": "audio/ogg",
	".png": "image/png", ".jpg": "image/jpeg", ".txt": "text/plain; charset=utf-8", ".srt": "text/plain; charset=utf-8", ".ass": "text/plain; charset=utf-8",
}
