package meta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"
)

const (
	// MinCreatePieceLength is the shortest piece that Create makes: one block.
	MinCreatePieceLength = 16 << 10

	// maxAutomaticPieceLength is where the automatic choice stops: browsers and
	// streaming get worse with longer pieces, and the hashes of a tebibyte still
	// fit in 1.3 MB.
	maxAutomaticPieceLength = 16 << 20
)

// CreateOptions says how to make a torrent. The zero value is useful.
type CreateOptions struct {
	PieceLength int64      // bytes, a power of two; 0: 1024 to 2048 pieces, from 16 KiB to 16 MiB each
	Name        string     // ""; the name of the file or folder
	Comment     string     //
	Source      string     // makes the infohash differ from those of the same files elsewhere
	CreatedBy   string     // "": causeway
	Private     bool       // BEP 27
	Trackers    [][]string // in tiers (BEP 12)
	WebSeeds    []string   // BEP 19
	Created     time.Time  // zero: not in the torrent
	Output      string     // "", or where the .torrent file goes: it is not in the torrent

	Workers  int                     // 0: one for each core
	Progress func(done, total int64) // may be nil; bytes hashed; not called concurrently
	Warn     func(message string)    // may be nil; what the torrent cannot hold
}

// Create makes a .torrent file (BEP 3) of a file or a folder. Files are sorted
// as people count: "2" before "10". Symbolic links are followed to regular files
// inside the folder; anything else that cannot be in a torrent is an error, and
// so is a file that changes meanwhile.
func Create(ctx context.Context, path string, o CreateOptions) ([]byte, error) {
	torrent, err := o.metainfo()
	if err != nil {
		return nil, err
	}
	tree, err := scan(ctx, path, o.Output, o.Warn)
	if err != nil {
		return nil, err
	}
	info := metainfo.Info{PieceLength: o.PieceLength, Source: o.Source}
	if info.Name, _, err = nameOf(tree.root, o.Name); err != nil {
		return nil, err
	}
	tree.warnOfTorrents(info.Name)
	if info.PieceLength == 0 {
		info.PieceLength = min(metainfo.ChoosePieceLength(tree.length), maxAutomaticPieceLength)
	}
	if o.Private {
		info.Private = &o.Private
	}
	if tree.isFolder {
		for _, file := range tree.files {
			info.Files = append(info.Files, metainfo.FileInfo{Path: file.components, Length: file.length})
		}
	} else {
		info.Length = tree.length
	}
	if info.Pieces, err = tree.hash(ctx, info.PieceLength, o); err != nil {
		return nil, err
	}
	if torrent.InfoBytes, err = bencode.Marshal(info); err != nil {
		return nil, fmt.Errorf("cannot encode the torrent: %w", err)
	}
	encoded, err := bencode.Marshal(torrent)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the torrent: %w", err)
	}
	if _, err := ParseTorrent(encoded); err != nil {
		return nil, fmt.Errorf("no program could use this torrent: %w", err)
	}
	return encoded, nil
}

// TorrentName returns the name for the .torrent file of a path: that of the torrent,
// which is name or that of path, with ".torrent".
func TorrentName(path, name string) (string, error) {
	root, err := rootOf(path)
	if err != nil {
		return "", err
	}
	_, safe, err := nameOf(root, name)
	return shorten(safe, "", maxNameLength-len(torrentExtension)) + torrentExtension, err
}

// nameOf returns what a torrent is called, and that as a file name.
func nameOf(root, wanted string) (name, safe string, err error) {
	if name = wanted; name == "" {
		name = filepath.Base(root)
	}
	if safe, err = safeName([]byte(name)); err != nil || safe == "" || !utf8.ValidString(name) {
		return "", "", usagef("%s cannot be the name of a torrent; give another one", quoteShort(name))
	}
	return name, safe, nil
}

// metainfo checks the options and returns all of the torrent but its info
// dictionary.
func (o *CreateOptions) metainfo() (*metainfo.MetaInfo, error) {
	if n := o.PieceLength; n != 0 && (n < MinCreatePieceLength || n > MaxPieceLength || n&(n-1) != 0) {
		return nil, usagef("the piece length must be a power of two from 16K to 256M, not %d bytes", n)
	}
	m := &metainfo.MetaInfo{Comment: o.Comment, CreatedBy: o.CreatedBy, UrlList: o.WebSeeds}
	if m.CreatedBy == "" {
		m.CreatedBy = "causeway"
	}
	if !o.Created.IsZero() {
		m.CreationDate = o.Created.Unix()
	}
	for _, tier := range o.Trackers {
		for _, tracker := range tier {
			if !IsTrackerURL(tracker) {
				return nil, usagef("%s is not a tracker's URL (http, https, udp, ws or wss)", quoteShort(tracker))
			}
		}
	}
	for _, seed := range o.WebSeeds {
		if len(webSeeds([]string{seed})) == 0 {
			return nil, usagef("%s is not a web seed's URL (http or https)", quoteShort(seed))
		}
	}
	if tiers := slices.DeleteFunc(slices.Clone(o.Trackers), func(tier []string) bool { return len(tier) == 0 }); len(tiers) > 0 {
		m.Announce = tiers[0][0]
		if len(tiers) > 1 || len(tiers[0]) > 1 {
			m.AnnounceList = tiers
		}
	}
	return m, nil
}

// hash returns the concatenated hashes of the pieces.
func (t *tree) hash(ctx context.Context, pieceLength int64, o CreateOptions) ([]byte, error) {
	data := &layout{length: t.length, pieceLength: pieceLength}
	var offset int64
	for _, file := range t.files {
		data.extents = append(data.extents, extent{file.path, offset, file.length, file.length})
		offset += file.length
	}
	pieces := make([]byte, data.pieces()*hashSize)
	err := data.hashPieces(ctx, o.Workers, func(piece int, sum []byte, err error) error {
		copy(pieces[piece*hashSize:], sum)
		return err
	}, o.Progress)
	if err != nil {
		return nil, fmt.Errorf("cannot hash %s: %w", t.root, err)
	}
	for _, file := range t.files {
		size, status, err := regularSize(file.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil || size != file.length || !status.ModTime().Equal(file.modified) {
			return nil, fmt.Errorf("%s changed while it was hashed; try again when nothing writes to it", file.path)
		}
	}
	return pieces, nil
}
