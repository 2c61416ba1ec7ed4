package meta

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

const (
	// maxPathDepth bounds the components of one path. Operating systems allow
	// paths of 4096 bytes; nobody nests folders this deep.
	maxPathDepth = 64

	// maxFiles bounds the files of a torrent: each costs some 300 bytes of memory
	// while it is read, and file systems and people do badly with fewer already.
	maxFiles = 2_000_000

	// maxFolders bounds its folders for the same reasons.
	maxFolders = 500_000

	// maxRenamed bounds its files and folders whose names are taken by others.
	maxRenamed = 500_000
)

// rawFile holds the values of one entry of "files", still bencoded.
type rawFile struct{ length, path, pathUTF8, attr, link []byte }

func (r *rawFile) field(key []byte) *[]byte {
	switch string(key) {
	case "length":
		return &r.length
	case "path":
		return &r.path
	case "path.utf-8":
		return &r.pathUTF8
	case "attr":
		return &r.attr
	case "symlink path":
		return &r.link
	}
	return nil
}

// leastEntry is how short an entry of "files" can be, in bytes.
const leastEntry = len("d6:lengthi0e4:pathl1:aee")

func (i *Info) setMultiFile(list []byte) error {
	if !isList(list) {
		return errors.New("its \"files\" is not a list")
	}
	guess := min(len(list)/(4*leastEntry), maxFiles) + 1
	i.Files = make([]File, 0, guess)
	namer := newNamer(guess)
	err := eachItem(list, func(b []byte) ([]byte, error) {
		if len(i.Files) == maxFiles {
			return nil, fmt.Errorf("it has more than the %d files that are allowed", maxFiles)
		}
		file, link, rest, err := parseFile(b, namer, len(i.Files))
		if err != nil {
			return nil, fmt.Errorf("file %d: %w", len(i.Files), err)
		}
		if link != nil {
			if i.Links == nil {
				i.Links = make(map[int][]string)
			}
			i.Links[len(i.Files)] = link
		}
		if file.Length > math.MaxInt64-i.Length {
			return nil, errors.New("the lengths of its files add up to more than 64 bits can hold")
		}
		file.Offset = i.Length
		i.Length += file.Length
		i.Files = append(i.Files, file)
		return rest, nil
	})
	if err != nil {
		return err
	}
	if len(i.Files) == 0 {
		return errors.New("its list of files is empty")
	}
	i.originals, err = namer.finish()
	return err
}

// parseFile reads the entry of "files" that b starts with, which is number index. It
// returns where the file leads, if it is a symbolic link, and the bytes after the entry.
func parseFile(b []byte, namer *namer, index int) (file File, link []string, rest []byte, err error) {
	var fields rawFile
	if rest, err = collect(b, fields.field); err != nil {
		return file, nil, nil, err
	}
	attr, _ := stringOf(fields.attr)
	file = File{
		Pad:        bytes.IndexByte(attr, 'p') >= 0,
		Executable: bytes.IndexByte(attr, 'x') >= 0,
	}
	var ok bool
	if file.Length, ok = intOf(fields.length); !ok && (fields.length != nil || bytes.IndexByte(attr, 'l') < 0) {
		// Only the symbolic links of BEP 47 may do without. They become
		// empty files on disk: a link could point anywhere.
		return file, nil, nil, errors.New("it has no numeric \"length\"")
	}
	if file.Length < 0 {
		return file, nil, nil, fmt.Errorf("its length is negative (%d)", file.Length)
	}
	path := fields.path
	if isList(fields.pathUTF8) && len(fields.pathUTF8) > len("le") {
		path = fields.pathUTF8
	}
	if bytes.IndexByte(attr, 'l') >= 0 && file.Length == 0 {
		link = linkPath(fields.link)
	}
	file.Path, err = namer.path(path, index, file.Pad)
	return file, link, rest, err
}

// linkPath reads where a symbolic link leads: a path under the torrent's folder. It is nil
// if it is none that is safe.
func linkPath(list []byte) (path []string) {
	if !isList(list) {
		return nil
	}
	err := eachItem(list, func(b []byte) ([]byte, error) {
		start, length, err := stringBounds(b, 0)
		if err != nil || len(path) == maxPathDepth {
			return nil, errors.New("it is no path")
		}
		name, err := safeName(b[start : start+length])
		if err == nil && name != "" {
			path = append(path, name)
		}
		return b[start+length:], err
	})
	if err != nil {
		return nil
	}
	return path
}
