package meta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// tree is what a torrent is made of.
type tree struct {
	root     string // absolute, without symbolic links
	isFolder bool
	files    []treeFile // sorted
	length   int64      // bytes in all; at least 1
	output   string     // where the .torrent file goes, as output returns it
	warn     func(message string)
}

type treeFile struct {
	components []string // of its path under the root
	path       string
	length     int64
	modified   time.Time
}

// TemporaryPattern is for the names of files that are being written, as os.CreateTemp has
// it. Such files are not in torrents: they are there for a moment, or for good where a
// program was killed.
const TemporaryPattern = ".causeway-*.part"

const torrentExtension = ".torrent"

func isTemporary(name string) bool {
	match, err := filepath.Match(TemporaryPattern, name)
	return match && err == nil
}

// rootOf returns a path without symbolic links.
func rootOf(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err == nil {
		absolute, err = filepath.EvalSymlinks(absolute)
	}
	if err != nil {
		return "", usagef("cannot make a torrent of %s: %w", path, err)
	}
	return absolute, nil
}

// outputOf is rootOf for a file that may not be there yet; "" stays so.
func outputOf(path string) string {
	if path == "" {
		return ""
	}
	if root, err := rootOf(path); err == nil {
		return root
	}
	if folder, err := rootOf(filepath.Dir(path)); err == nil {
		return filepath.Join(folder, filepath.Base(path))
	}
	return path
}

// isOutput tells whether path, which is without symbolic links, is the .torrent file
// that is to be written. File systems that ignore case may have it spelled differently.
func (t *tree) isOutput(path string) bool {
	if path == t.output || t.output == "" || !strings.EqualFold(path, t.output) {
		return path == t.output
	}
	a, err := os.Stat(path)
	if err != nil {
		return false
	}
	b, err := os.Stat(t.output)
	return err == nil && os.SameFile(a, b)
}

// scan lists the files under path. output is as in CreateOptions.
func scan(ctx context.Context, path, output string, warn func(string)) (*tree, error) {
	root, err := rootOf(path)
	if err != nil {
		return nil, err
	}
	status, err := os.Stat(root)
	if err != nil {
		return nil, usagef("cannot make a torrent of %s: %w", path, err)
	}
	if warn == nil {
		warn = func(string) {}
	}
	t := &tree{root: root, isFolder: status.IsDir(), output: outputOf(output), warn: warn}
	if t.isFolder {
		if err := t.addFolder(ctx, root, nil); err != nil {
			return nil, err
		}
		slices.SortFunc(t.files, func(a, b treeFile) int {
			return slices.CompareFunc(a.components, b.components, compareNatural)
		})
	} else if err := t.addFile(root, nil); err != nil {
		return nil, err
	}
	if t.length == 0 {
		return nil, usagef("cannot make a torrent of %s: there is no data in it", path)
	}
	return t, nil
}

func (t *tree) addFolder(ctx context.Context, folder string, components []string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(components) >= maxPathDepth {
		return usagef("%s is nested too deep: a torrent's paths have at most %d components", folder, maxPathDepth)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("cannot list the folder: %w", err)
	}
	if len(entries) == 0 && len(components) > 0 {
		t.warn(fmt.Sprintf("the empty folder %s is left out: a torrent holds files only", folder))
	}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		if !utf8.ValidString(entry.Name()) {
			return usagef("the name of %q is not UTF-8, which torrents need; rename it", path)
		}
		inside := append(slices.Clip(components), entry.Name())
		if entry.IsDir() {
			err = t.addFolder(ctx, path, inside)
		} else {
			err = t.addFile(path, inside)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) addFile(path string, components []string) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return usagef("cannot read %s: %w", path, err)
	}
	if inside, err := filepath.Rel(t.root, target); err != nil || !filepath.IsLocal(inside) {
		return usagef("the symbolic link %s leads out of the folder, to %s; remove it or copy the file", path, target)
	}
	if len(components) > 0 && (t.isOutput(target) || isTemporary(filepath.Base(path))) {
		return nil
	}
	size, status, err := regularSize(target)
	if err != nil {
		return usagef("%s cannot be in a torrent: %w", path, pathCause(err))
	}
	t.files = append(t.files, treeFile{components, target, size, status.ModTime()})
	t.length += size
	return nil
}

// maxTorrentsRead bounds the .torrent files of a folder that are looked into.
const maxTorrentsRead = 100

// warnOfTorrents warns of what may be earlier torrents of the same folder. They stay in:
// nobody but the user can tell.
func (t *tree) warnOfTorrents(name string) {
	looked := 0
	for i := range t.files {
		file := &t.files[i]
		if !strings.EqualFold(filepath.Ext(file.path), torrentExtension) || file.length > MaxTorrentSize {
			continue
		}
		if looked++; looked > maxTorrentsRead {
			return
		}
		content, err := os.ReadFile(file.path)
		if err != nil {
			continue
		}
		if torrent, err := ParseTorrent(content); err == nil && torrent.Info.originalName == name {
			t.warn(fmt.Sprintf("%s is in the torrent too; move it elsewhere if it is an earlier torrent of the same data", file.path))
		}
	}
}

// pathCause is the error of a file system without the path, which the message
// around it names already.
func pathCause(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// compareNatural orders names as people do: numbers in them by value, letters
// without regard to case. Names that are alike so far are ordered by their bytes.
func compareNatural(a, b string) int {
	restA, restB := a, b
	for restA != "" && restB != "" {
		var partA, partB string
		partA, restA = nextPart(restA)
		partB, restB = nextPart(restB)
		var order int
		if isDigits(partA) && isDigits(partB) {
			numberA, numberB := strings.TrimLeft(partA, "0"), strings.TrimLeft(partB, "0")
			order = cmp.Or(cmp.Compare(len(numberA), len(numberB)), strings.Compare(numberA, numberB))
		} else {
			order = strings.Compare(strings.ToLower(partA), strings.ToLower(partB))
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Or(cmp.Compare(len(restA), len(restB)), strings.Compare(a, b))
}

// nextPart cuts the longest start of name that is all digits, or has none.
func nextPart(name string) (part, rest string) {
	isDigit := func(i int) bool { return name[i] >= '0' && name[i] <= '9' }
	end := 1
	for end < len(name) && isDigit(end) == isDigit(0) {
		end++
	}
	return name[:end], name[end:]
}
