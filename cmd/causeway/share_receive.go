package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/disk"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/share"
)

// receivedEvent says what was saved.
type receivedEvent struct {
	Path   string `json:"path"`
	Length int64  `json:"length"`
	WebRTC bool   `json:"webrtc"` // or by HTTP
}

func (s *sharing) newReceiver() (*share.Receiver, error) {
	f := s.flags
	folder, err := filepath.Abs(f.receive)
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err != nil {
		return nil, usagef("--receive: %v", err)
	}
	receiver, err := share.NewReceiver(share.ReceiverConfig{
		Folder: folder, MaxBytes: int64(f.receiveSize), MaxFiles: f.receiveFiles,
		SafeName: meta.SafeName, IsFull: disk.IsFull, Logger: s.app.logger(),
		Fetch: s.fetchFromPage,
		Saved: func(name string, bytes int64, webrtc bool) {
			path := filepath.Join(folder, name)
			s.app.event("received", receivedEvent{path, bytes, webrtc})
			s.app.line("received %s (%s)", path, formatBytes(bytes))
		},
	})
	if err != nil {
		return nil, usagef("--receive: %v", err)
	}
	return receiver, nil
}

// pageFetch is a torrent that a page seeds to us.
type pageFetch struct {
	sharing *sharing
	info    *meta.Info

	mu      sync.Mutex
	torrent *client.Torrent // nil until Start
	done    chan struct{}
	ended   chan struct{} // closed by Close
	closed  bool
	waiting sync.WaitGroup
}

var _ share.Fetch = (*pageFetch)(nil)

// fetchFromPage takes nothing of the torrent but its info dictionary: trackers and web seeds in
// it would have us connect to wherever the sender wants.
func (s *sharing) fetchFromPage(torrent []byte) (share.Fetch, error) {
	parsed, err := meta.ParseTorrent(torrent)
	if err != nil {
		return nil, err
	}
	return &pageFetch{sharing: s, info: parsed.Info, done: make(chan struct{}), ended: make(chan struct{})}, nil
}

func (p *pageFetch) Size() (bytes int64, files int) {
	for i := range p.info.Files {
		if !p.info.Files[i].Pad {
			files++
		}
	}
	return p.info.Length, files
}

func (p *pageFetch) Start(folder string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sharing
	if p.closed {
		return errors.New("the receiver has stopped")
	}
	if !s.side.allow(p.info.InfoHash) {
		return errors.New("it is there already")
	}
	torrent, err := s.engine.Add(&meta.Source{Torrent: &meta.Torrent{Info: p.info}}, client.TorrentOptions{
		Dir: folder, Trackers: []string{s.engineTracker()}, TrackersOnly: true,
	})
	if err != nil {
		s.side.forbid(p.info.InfoHash)
		return err
	}
	p.torrent = torrent
	p.waiting.Go(func() {
		select {
		case <-torrent.Complete():
		case <-torrent.Failed():
		case <-p.ended:
		}
		close(p.done)
	})
	return nil
}

func (p *pageFetch) started() *client.Torrent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.torrent
}

func (p *pageFetch) Received() int64 {
	if torrent := p.started(); torrent != nil {
		return torrent.Stats().Completed
	}
	return 0
}

func (p *pageFetch) Done() <-chan struct{} { return p.done }

// removeTime is how long a torrent may take to let go of its files.
const removeTime = 10 * time.Second

func (p *pageFetch) Close() error {
	p.mu.Lock()
	torrent, closed := p.torrent, p.closed
	p.closed = true
	p.mu.Unlock()
	if closed || torrent == nil {
		return nil
	}
	close(p.ended)
	p.waiting.Wait()
	err := torrent.Err()
	ctx, cancel := context.WithTimeout(context.Background(), removeTime)
	defer cancel()
	if removeErr := torrent.Remove(ctx, false); removeErr != nil && err == nil {
		err = fmt.Errorf("letting go of what was received: %w", removeErr)
	}
	p.sharing.side.forbid(p.info.InfoHash)
	return err
}
