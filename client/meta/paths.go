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
// elsewhere. No two paths are the same, and none is a folder of another, whatever
// is on disk.
func (i *Info) Paths(root string) []string { return i.pathsAt(realFiles{}, root) }

func (i *Info) pathsAt(files fileSystem, root string) []string {
	content := filepath.Join(root, i.Name)
	if i.originalName == i.Name {
		return i.pathsIn(files, content)
	}
	original := filepath.Join(root, i.originalName)
	originalThere, _ := files.stat(original)
	if !originalThere {
		return i.pathsIn(files, content)
	}
	if there, _ := files.stat(content); !there {
		return i.pathsIn(files, original)
	}
	// Both are there; one of them may be another torrent's.
	paths := i.pathsIn(files, content)
	if anyThere(files, paths) {
		return paths
	}
	if others := i.pathsIn(files, original); anyThere(files, others) {
		return others
	}
	return paths
}

func anyThere(files fileSystem, paths []string) bool {
	return slices.ContainsFunc(paths, func(path string) bool {
		if path == "" {
			return false
		}
		there, folder := files.stat(path)
		return there && !folder
	})
}

// PathsIn is Paths for a torrent whose own folder (or only file) is content,
// whatever its name.
func (i *Info) PathsIn(content string) []string { return i.pathsIn(realFiles{}, content) }

func (i *Info) pathsIn(files fileSystem, content string) []string {
	if !i.MultiFile {
		return []string{content}
	}
	paths := make([]string, len(i.Files))
	for file := range i.Files {
		if !i.Files[file].Pad {
			paths[file] = join(content, i.Files[file].Path)
		}
	}
	if i.originals != nil {
		i.originals.find(files, content, paths)
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

// Locate returns where the files of the torrent are if their data is at path:
// in that folder under the torrent's name, or path is the torrent's own folder
// or file under another name. found is false when there is none of it.
func (i *Info) Locate(path string) (paths []string, found bool) {
	for _, name := range []string{i.Name, i.originalName} {
		if exists(filepath.Join(path, name)) {
			return i.Paths(path), true
		}
	}
	paths = i.PathsIn(path)
	for _, file := range paths {
		if file == "" {
			continue
		}
		if _, _, err := regularSize(file); err == nil {
			return paths, true
		}
	}
	return nil, false
}

// Root returns the folder that holds the torrent's file or folder, for data that
// is at path: that is path itself, or the folder around it if path is the
// torrent's own file or folder. found is false when neither is so.
func (i *Info) Root(path string) (root string, found bool) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", false
	}
	for _, name := range []string{i.Name, i.originalName} {
		if exists(filepath.Join(path, name)) {
			return path, true
		}
		if filepath.Base(path) == name && exists(path) {
			return filepath.Dir(path), true
		}
	}
	return "", false
}
