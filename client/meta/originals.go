package meta

import (
	"io/fs"
	"os"
	"path/filepath"
)

// originals are the paths of files as the torrent itself spells them, where those are
// not what Info.Files says: other programs, and those who make a torrent of a folder,
// keep names that are only unsafe elsewhere. A path that two files claim is no file's.
type originals struct {
	folders []originalFolder // by number; 0 is the torrent's own
	files   []originalFile
}

type originalFolder struct {
	parent int32
	originalName
}

type originalFile struct {
	index  int
	folder int32
	originalName
}

// originalName is what the torrent calls a file or folder.
type originalName struct {
	name   string
	usable bool // nothing else is called so, and it is a possible name on this system

	// rivals are other names in the folder that some file systems take for this one.
	rivals []string
}

// maxRivals bounds the names in a folder that want to be the same, where files are still
// looked for under them.
const maxRivals = 100

// sameSomewhere tells whether some file system takes two names for one: those that ignore
// case or composition, or dots and blanks at the end.
func sameSomewhere(a, b string) bool { return foldName(trimName(a)) == foldName(trimName(b)) }

// originals returns what the torrent calls its files that finish has renamed.
func (n *namer) originals(all rivals) *originals {
	original := func(folder, at int32, raw string) originalName {
		o := originalName{name: raw}
		o.usable = len(raw) <= maxNameLength && isLocalName(raw) && (at < 0 || !n.claims[at].twin)
		if len(all) == 0 || !o.usable {
			return o
		}
		safe, err := safeName([]byte(raw))
		names := all[child{folder, foldName(safe)}]
		o.usable = err == nil && len(names) <= maxRivals
		if o.usable {
			for _, name := range names {
				if name != raw && sameSomewhere(name, raw) {
					o.rivals = append(o.rivals, name)
				}
			}
		}
		return o
	}
	o := &originals{folders: make([]originalFolder, len(n.nodes))}
	o.folders[0].usable = true
	for i := range n.nodes[1:] {
		node := &n.nodes[i+1]
		folder := originalFolder{node.parent, original(node.parent, node.claim, node.raw)}
		folder.usable = folder.usable && o.folders[node.parent].usable
		o.folders[i+1] = folder
	}
	for _, file := range n.changed {
		if name := original(file.folder, file.claim, file.raw); name.usable && o.folders[file.folder].usable {
			o.files = append(o.files, originalFile{file.index, file.folder, name})
		}
	}
	if len(o.files) == 0 {
		return nil
	}
	return o
}

// fileSystem is what is asked of the disk to find files.
type fileSystem interface {
	// stat returns whether path is there, links not followed, and a folder.
	stat(path string) (there, folder bool)
	// same tells whether two paths are one file or folder.
	same(a, b string) bool
	// list returns the names in a folder, as they are spelled on disk.
	list(folder string) []string
}

type realFiles struct{}

func (realFiles) stat(path string) (there, folder bool) {
	status, err := os.Lstat(path)
	if err != nil {
		return false, false
	}
	if status.Mode()&fs.ModeSymlink != 0 {
		if target, err := os.Stat(path); err == nil {
			status = target
		}
	}
	return true, status.IsDir()
}

func (realFiles) same(a, b string) bool {
	first, err := os.Lstat(a)
	if err != nil {
		return false
	}
	second, err := os.Lstat(b)
	return err == nil && os.SameFile(first, second)
}

func (realFiles) list(folder string) []string {
	f, err := os.Open(folder)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1) // what cannot be listed is not found
	return names
}

// finder looks for files under their original names.
type finder struct {
	files   fileSystem
	folders []originalFolder
	found   []foundFolder // by number
}

type foundFolder struct {
	looked, there bool
	path          string
	names         map[string]bool // nil: not listed yet
}

// find puts the original paths of files that are there, and are not under their safe
// names, in place of the latter. content is the torrent's own folder.
//
// Whatever is on disk, paths stay different: no two files have one original path, and
// no original path is a safe one of another file. Where a file system may take an
// original name for another, it must list the name as it is, and have another file, or
// none, for each other.
func (o *originals) find(files fileSystem, content string, paths []string) {
	f := &finder{files: files, folders: o.folders, found: make([]foundFolder, len(o.folders))}
	f.found[0] = foundFolder{looked: true, path: content}
	_, f.found[0].there = files.stat(content)
	for i := range o.files {
		file := &o.files[i]
		path, folder := f.locate(file.folder, &file.originalName)
		if path == "" || folder {
			continue
		}
		if there, _ := files.stat(paths[file.index]); !there {
			paths[file.index] = path
		}
	}
}

// locate returns the path of what has an original name in a folder, "" if it is not
// there, and whether it is a folder.
func (f *finder) locate(folder int32, o *originalName) (path string, isFolder bool) {
	in := f.folder(folder)
	if !in.there {
		return "", false
	}
	path = filepath.Join(in.path, o.name)
	there, isFolder := f.files.stat(path)
	if !there || len(o.rivals) > 0 && !f.names(in)[o.name] {
		return "", false
	}
	for _, rival := range o.rivals {
		if isLocalName(rival) && !f.names(in)[rival] && f.files.same(path, filepath.Join(in.path, rival)) {
			return "", false
		}
	}
	return path, isFolder
}

// folder returns what is known of the folder of that number under its original name.
func (f *finder) folder(number int32) *foundFolder {
	found := &f.found[number]
	if !found.looked {
		found.looked = true
		found.path, found.there = f.locate(f.folders[number].parent, &f.folders[number].originalName)
	}
	return found
}

func (f *finder) names(in *foundFolder) map[string]bool {
	if in.names == nil {
		in.names = make(map[string]bool)
		for _, name := range f.files.list(in.path) {
			in.names[name] = true
		}
	}
	return in.names
}
