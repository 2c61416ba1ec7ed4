package meta

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	// MaxInfoSize bounds an info dictionary, in bytes: four times what a
	// torrent of a million files needs. The engine applies it to the
	// metadata_size of BEP 9 too.
	MaxInfoSize = 64 << 20

	// MaxPieceLength bounds a piece, in bytes. A piece is kept in memory until
	// it is whole; 256 MiB is the most that other programs make.
	MaxPieceLength = 256 << 20

	hashSize = sha1.Size
)

// ErrV2Only is why a torrent without a v1 side (BEP 52) is refused.
var ErrV2Only = errors.New("BitTorrent v2-only torrents are not supported yet; ask for a v1 or hybrid torrent of the same files")

// File is one file of a torrent.
type File struct {
	Path       []string // safe, relative components under the torrent's folder; one component in a single-file torrent
	Length     int64    // bytes
	Offset     int64    // bytes from the start of the torrent's data
	Pad        bool     // padding file of BEP 47: zeros, never on disk
	Executable bool     // attribute "x" of BEP 47
}

// DisplayPath is the path of the file under the torrent's folder, joined with slashes.
func (f *File) DisplayPath() string { return strings.Join(f.Path, "/") }

// Info is a validated info dictionary. It must not be changed.
type Info struct {
	Name        string // a safe file or folder name
	PieceLength int64  // bytes; from 1 to MaxPieceLength
	Length      int64  // bytes in all, padding included; at least 1
	Private     bool   // BEP 27: no DHT, PEX or local discovery
	Source      string // tag that some private trackers ask for
	Files       []File // in the order of the data; never empty
	MultiFile   bool   // the files live in a folder called Name

	InfoHash   [20]byte
	InfoHashV2 *[32]byte // set for hybrid torrents (BEP 52) only
	Raw        []byte    // the bencoded info dictionary, exactly as hashed

	// Links are the symbolic links of BEP 47, by the index of their file, whose length is
	// 0: safe components of a path under the torrent's folder, where there may be nothing.
	Links map[int][]string

	pieces []byte // concatenated SHA-1 hashes, part of Raw

	// originalName and originals are how the torrent itself spells Name and the
	// paths of files, where that had to be changed; for Paths.
	originalName string
	originals    *originals // nil where nothing was
}

// NumPieces is how many pieces the torrent has, by its length; at least 1.
func (i *Info) NumPieces() int { return int((i.Length-1)/i.PieceLength + 1) }

// PieceSize is the length of a piece in bytes; only the last may be shorter
// than PieceLength.
func (i *Info) PieceSize(piece int) int64 {
	return min(i.PieceLength, i.Length-int64(piece)*i.PieceLength)
}

// PieceHash is the SHA-1 hash of a piece (BEP 3). It must not be changed.
func (i *Info) PieceHash(piece int) []byte {
	return i.pieces[piece*hashSize : (piece+1)*hashSize : (piece+1)*hashSize]
}

// rawInfo holds the values of an info dictionary, still bencoded; nil if absent.
type rawInfo struct {
	name, nameUTF8, pieceLength, pieces, length, files []byte
	attr, private, source, metaVersion, fileTree       []byte
}

func (r *rawInfo) field(key []byte) *[]byte {
	switch string(key) {
	case "name":
		return &r.name
	case "name.utf-8":
		return &r.nameUTF8
	case "piece length":
		return &r.pieceLength
	case "pieces":
		return &r.pieces
	case "length":
		return &r.length
	case "files":
		return &r.files
	case "attr":
		return &r.attr
	case "private":
		return &r.private
	case "source":
		return &r.source
	case "meta version":
		return &r.metaVersion
	case "file tree":
		return &r.fileTree
	}
	return nil
}

// collect sorts the entries of the dictionary that b starts with into the places that
// field returns for their keys, and returns the bytes after it. Of a key that is there
// twice, the first counts, as for libtorrent and Transmission: two programs should not
// see two different torrents under one infohash.
func collect(b []byte, field func(key []byte) *[]byte) (rest []byte, err error) {
	return eachEntry(b, func(key, value []byte) error {
		if place := field(key); place != nil && *place == nil {
			*place = value
		}
		return nil
	})
}

// ParseInfo reads and validates a bencoded info dictionary. The result keeps
// raw, which must not be changed afterwards. Time and memory are linear in
// len(raw), which may be up to MaxInfoSize.
func ParseInfo(raw []byte) (*Info, error) {
	info, err := parseInfo(raw)
	if err != nil {
		return nil, fmt.Errorf("bad info dictionary: %w", err)
	}
	return info, nil
}

func parseInfo(raw []byte) (*Info, error) {
	if len(raw) > MaxInfoSize {
		return nil, fmt.Errorf("it has %d bytes, more than the %d that are allowed", len(raw), MaxInfoSize)
	}
	var fields rawInfo
	rest, err := collect(raw, fields.field)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow its end", len(rest))
	}
	info := &Info{Raw: raw, InfoHash: sha1.Sum(raw)}
	if err := info.setVersion(&fields); err != nil {
		return nil, err
	}
	if err := info.setFiles(&fields); err != nil {
		return nil, err
	}
	if err := info.setPieces(&fields); err != nil {
		return nil, err
	}
	private, _ := intOf(fields.private)
	info.Private = private != 0
	source, _ := stringOf(fields.source)
	info.Source = cleanText(source)
	return info, nil
}

func (i *Info) setVersion(fields *rawInfo) error {
	version := int64(1)
	if fields.metaVersion != nil {
		var ok bool
		if version, ok = intOf(fields.metaVersion); !ok || version < 1 || version > 2 {
			return errors.New("its \"meta version\" is none that this program knows (1 or 2)")
		}
	}
	if fields.pieces == nil {
		if version == 2 || fields.fileTree != nil {
			return ErrV2Only
		}
		return errors.New("it has no \"pieces\"")
	}
	if version == 2 {
		sum := sha256.Sum256(i.Raw)
		i.InfoHashV2 = &sum
	}
	return nil
}

func (i *Info) setFiles(fields *rawInfo) error {
	name, ok := stringOf(fields.nameUTF8)
	if !ok || len(name) == 0 {
		if name, ok = stringOf(fields.name); !ok && fields.name != nil {
			return errors.New("its \"name\" is not a string")
		}
	}
	var err error
	if i.Name, err = safeName(name); err != nil {
		return fmt.Errorf("its \"name\": %w", err)
	}
	if i.Name == "" {
		i.Name = hex.EncodeToString(i.InfoHash[:])
	}
	i.originalName = i.Name
	if isLocalName(string(name)) {
		i.originalName = string(name)
	}
	if fields.files != nil {
		i.MultiFile = true
		if err := i.setMultiFile(fields.files); err != nil {
			return err
		}
	} else {
		length, ok := intOf(fields.length)
		if !ok {
			return errors.New("it has neither \"files\" nor a numeric \"length\"")
		}
		if length < 0 {
			return fmt.Errorf("its length is negative (%d)", length)
		}
		i.Length = length
		attr, _ := stringOf(fields.attr)
		i.Files = []File{{Path: []string{i.Name}, Length: length, Executable: bytes.IndexByte(attr, 'x') >= 0}}
	}
	if i.Length == 0 {
		return errors.New("it holds no data: the lengths of its files add up to 0")
	}
	return nil
}

func (i *Info) setPieces(fields *rawInfo) error {
	var ok bool
	// Any length is valid in v1: powers of two are only a custom, and torrents
	// with other lengths are about.
	if i.PieceLength, ok = intOf(fields.pieceLength); !ok || i.PieceLength <= 0 || i.PieceLength > MaxPieceLength {
		return fmt.Errorf("its piece length must be from 1 to %d bytes, not %s", MaxPieceLength, printable(fields.pieceLength))
	}
	if i.pieces, ok = stringOf(fields.pieces); !ok {
		return errors.New("its \"pieces\" is not a string")
	}
	if len(i.pieces)%hashSize != 0 {
		return fmt.Errorf("its \"pieces\" has %d bytes, which is not a multiple of %d", len(i.pieces), hashSize)
	}
	want := (i.Length-1)/i.PieceLength + 1 // NumPieces may not fit in an int before this is checked
	if got := int64(len(i.pieces) / hashSize); got != want {
		return fmt.Errorf("it has %d piece hashes where %d bytes in pieces of %d need %d", got, i.Length, i.PieceLength, want)
	}
	return nil
}

// printable shows a bencoded value in an error, shortened.
func printable(value []byte) string {
	const most = 40
	if value == nil {
		return "absent"
	}
	if len(value) > most {
		value = value[:most]
	}
	return fmt.Sprintf("%q", value)
}
