package meta

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Paths returns where the files of the torrent are on disk, for data in the
// folder root; padding files have "". Names are the safe ones, unless root has
// the data under the names that the torrent itself uses: other programs, and
// those who make a torrent of a folder, keep names that are only unsafe
// elsewhere.
func (i *Info) Paths(root string) []string {
	content := filepath.Join(root, i.Name)
	if i.originalName != i.Name && !exists(content) {
		if original := filepath.Join(root, i.originalName); exists(original) {
			content = original
		}
	}
	return i.PathsIn(content)
}

// PathsIn is Paths for a torrent whose own folder (or only file) is content,
// whatever its name.
func (i *Info) PathsIn(content string) []string {
	if !i.MultiFile {
		return []string{content}
	}
	asIs := len(i.originals) > 0
	for file, original := range i.originals {
		if !i.Files[file].Pad && !exists(join(content, original)) {
			asIs = false
			break
		}
	}
	paths := make([]string, len(i.Files))
	for file := range i.Files {
		switch original := i.originals[file]; {
		case i.Files[file].Pad:
		case asIs && original != nil:
			paths[file] = join(content, original)
		default:
			paths[file] = join(content, i.Files[file].Path)
		}
	}
	return paths
}

func join(folder string, path []string) string {
	return filepath.Join(slices.Concat([]string{folder}, path)...)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// regularSize returns the size of a regular file, links followed. Anything else,
// such as a pipe that would block who opens it, is an error.
func regularSize(path string) (int64, fs.FileInfo, error) {
	status, err := os.Stat(path)
	if err != nil {
		return 0, nil, err
	}
	if !status.Mode().IsRegular() {
		return 0, nil, &fs.PathError{Op: "read", Path: path, Err: errNotRegular}
	}
	return status.Size(), status, nil
}
