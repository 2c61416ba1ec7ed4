package main

import (
	"context"
	"encoding/hex"
	"os"
	"path"
	"time"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
	"github.com/causeway-bt/causeway/stream"
)

// torrentView shows package stream a torrent of the engine.
type torrentView struct {
	torrent *client.Torrent
	hash    string
	files   []*fileView
	served  []stream.File // files, as the interface wants them
}

// newTorrentView has no files as long as the metadata is not known.
func newTorrentView(torrent *client.Torrent) *torrentView {
	infoHash := torrent.InfoHash()
	v := &torrentView{torrent: torrent, hash: hex.EncodeToString(infoHash[:])}
	info := torrent.Info()
	if info == nil {
		return v
	}
	paths := info.Paths(torrent.Dir())
	for i := range info.Files {
		file := &fileView{torrent: torrent, index: i, file: &info.Files[i], path: info.Files[i].DisplayPath(), disk: paths[i]}
		v.files = append(v.files, file)
		v.served = append(v.served, file)
	}
	return v
}

// known tells whether the metadata is.
func (v *torrentView) known() bool { return len(v.files) > 0 }

func (v *torrentView) InfoHash() string     { return v.hash }
func (v *torrentView) Name() string         { return v.torrent.Name() }
func (v *torrentView) PieceLength() int64   { return v.torrent.Info().PieceLength }
func (v *torrentView) Files() []stream.File { return v.served }

type fileView struct {
	torrent *client.Torrent
	index   int
	file    *meta.File
	path    string
	disk    string // "" for padding
}

func (f *fileView) Path() string  { return f.path }
func (f *fileView) name() string  { return path.Base(f.path) }
func (f *fileView) Length() int64 { return f.file.Length }

// ModTime is known of complete files only: before, it changes with every piece.
func (f *fileView) ModTime() time.Time {
	select {
	case <-f.torrent.Complete():
	default:
		return time.Time{}
	}
	if !f.torrent.Selected()[f.index] {
		return time.Time{}
	}
	status, err := os.Stat(f.disk)
	if err != nil {
		return time.Time{}
	}
	return status.ModTime()
}

func (f *fileView) Open(ctx context.Context) (stream.Reader, error) {
	return f.torrent.OpenFile(ctx, f.index)
}
