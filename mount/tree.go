package mount

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// rootID is the number of the root folder, as FUSE has it. All others are a torrent's
// number times 2^32 and the number of a node in it, both made of nothing but what is in
// the torrent: they are the same in every mount.
const (
	rootID    = 1
	nodeBits  = 32
	noFile    = -1
	shownHash = 8 // digits of an infohash that tell torrents of one name apart
)

// tree is the folders and files of all torrents.
type tree struct {
	folders bool // each torrent has a folder; else the only one's files are in the root
	started time.Time

	mu       sync.RWMutex
	branches []*branch // in the order in which they came
	byName   map[string]*branch
	byNumber map[uint32]*branch
	bytes    int64 // of all files shown
	files    int
}

// branch is one torrent. Once added it does not change.
type branch struct {
	torrent Torrent
	number  uint32
	name    string
	time    time.Time
	nodes   []node // the torrent's folder is number 0
	bytes   int64
	count   int
}

// node is a folder, a file or a link. There may be millions.
type node struct {
	name     string
	parent   uint32
	file     int32    // index in the torrent; noFile for folders
	children []uint32 // that are shown, by name
}

// entry is one thing in the tree.
type entry struct {
	branch *branch // nil: the root, of torrents that have folders of their own
	node   uint32
}

func newTree(folders bool) *tree {
	return &tree{
		folders: folders, started: time.Now(),
		byName: make(map[string]*branch), byNumber: make(map[uint32]*branch),
	}
}

// add adds a torrent.
func (t *tree) add(torrent Torrent) error {
	b := grow(torrent)
	if b.time.IsZero() {
		b.time = t.started
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.folders && len(t.branches) > 0 {
		return fmt.Errorf("%s cannot be mounted beside another torrent without folders", torrent.Name())
	}
	digest := sha256.Sum256([]byte(torrent.InfoHash()))
	b.number = max(binary.BigEndian.Uint32(digest[:]), 1)
	for t.byNumber[b.number] != nil {
		b.number = max(b.number+1, 1)
	}
	b.name = torrent.Name()
	if t.byName[b.name] != nil {
		b.name = fmt.Sprintf("%s (%.*s)", b.name, shownHash, torrent.InfoHash())
	}
	for n := 2; t.byName[b.name] != nil; n++ {
		b.name = fmt.Sprintf("%s (%s %d)", torrent.Name(), torrent.InfoHash(), n)
	}
	t.branches = append(t.branches, b)
	t.byName[b.name], t.byNumber[b.number] = b, b
	t.bytes += b.bytes
	t.files += b.count
	return nil
}

// grow makes the nodes of a torrent: of all its files, so that their numbers do not depend
// on which are shown.
func grow(torrent Torrent) *branch {
	n := torrent.NumFiles()
	b := &branch{torrent: torrent, time: torrent.Created(), nodes: make([]node, 1, n+1)}
	b.nodes[0] = node{file: noFile}
	type child struct {
		parent uint32
		name   string
	}
	folders := make(map[child]uint32)
	shown := make(map[uint32]bool)
	for i := range n {
		file := torrent.File(i)
		at, last := uint32(0), len(file.Path)-1
		for _, name := range file.Path[:last] {
			key := child{at, name}
			folder, known := folders[key]
			if !known {
				folder = b.sprout(at, name, noFile)
				folders[key] = folder
			}
			at = folder
		}
		leaf := b.sprout(at, file.Path[last], int32(i))
		if file.Hidden {
			continue
		}
		b.bytes += file.Length
		b.count++
		for leaf != 0 && !shown[leaf] {
			parent := b.nodes[leaf].parent
			b.nodes[parent].children = append(b.nodes[parent].children, leaf)
			if b.nodes[leaf].file == noFile {
				shown[leaf] = true
			}
			leaf = parent
		}
	}
	for i := range b.nodes {
		slices.SortFunc(b.nodes[i].children, func(x, y uint32) int { return cmp.Compare(b.nodes[x].name, b.nodes[y].name) })
	}
	return b
}

func (b *branch) sprout(parent uint32, name string, file int32) uint32 {
	b.nodes = append(b.nodes, node{name: name, parent: parent, file: file})
	return uint32(len(b.nodes) - 1)
}

// root returns the root folder.
func (t *tree) root() entry {
	if t.folders {
		return entry{}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if len(t.branches) == 0 {
		return entry{} // its metadata has not come
	}
	return entry{branch: t.branches[0]}
}

// byID finds what has a number.
func (t *tree) byID(id uint64) (entry, bool) {
	if id == rootID {
		return t.root(), true
	}
	t.mu.RLock()
	b := t.byNumber[uint32(id>>nodeBits)]
	t.mu.RUnlock()
	at := uint32(id)
	if b == nil || int(at) >= len(b.nodes) {
		return entry{}, false
	}
	return entry{b, at}, true
}

// id is the number of an entry.
func (t *tree) id(e entry) uint64 {
	if e.branch == nil || e.node == 0 && !t.folders {
		return rootID
	}
	return uint64(e.branch.number)<<nodeBits | uint64(e.node)
}

// child finds an entry of a folder by its name.
func (t *tree) child(e entry, name string) (entry, bool) {
	if e.branch == nil {
		t.mu.RLock()
		defer t.mu.RUnlock()
		b := t.byName[name]
		return entry{branch: b}, b != nil && t.folders
	}
	return e.child(name)
}

// child finds an entry of a torrent's folder by its name.
func (e entry) child(name string) (entry, bool) {
	children := e.branch.nodes[e.node].children
	at, ok := slices.BinarySearchFunc(children, name, func(c uint32, name string) int {
		return cmp.Compare(e.branch.nodes[c].name, name)
	})
	if !ok {
		return entry{}, false
	}
	return entry{e.branch, children[at]}, true
}

// childAt returns the entries of a folder by their place in it: those of the root in the
// order in which they came, so that none is missed when more come.
func (t *tree) childAt(e entry, place int) (entry, bool) {
	if e.branch == nil {
		t.mu.RLock()
		defer t.mu.RUnlock()
		if !t.folders || place >= len(t.branches) {
			return entry{}, false
		}
		return entry{branch: t.branches[place]}, true
	}
	children := e.branch.nodes[e.node].children
	if place >= len(children) {
		return entry{}, false
	}
	return entry{e.branch, children[place]}, true
}

// find walks a slash-separated path from the root. Nothing but names leads on.
func (t *tree) find(name string) (entry, bool) {
	e := t.root()
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part == "" {
			continue
		}
		next, ok := t.child(e, part)
		if !ok {
			return entry{}, false
		}
		e = next
	}
	return e, true
}

// parent is the folder that an entry is in.
func (t *tree) parent(e entry) entry {
	if e.branch == nil || e.node == 0 {
		return entry{}
	}
	return entry{e.branch, e.branch.nodes[e.node].parent}
}

// totals are the bytes and the number of all files shown.
func (t *tree) totals() (bytes int64, files int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.bytes, t.files
}

func (e entry) isFolder() bool { return e.branch == nil || e.branch.nodes[e.node].file == noFile }

// name is an entry's name in its folder.
func (e entry) name() string {
	switch {
	case e.branch == nil:
		return ""
	case e.node == 0:
		return e.branch.name
	}
	return e.branch.nodes[e.node].name
}

// index is that of a file in its torrent.
func (e entry) index() int { return int(e.branch.nodes[e.node].file) }

// file describes a file; of folders nothing.
func (e entry) file() File {
	if e.isFolder() {
		return File{}
	}
	return e.branch.torrent.File(e.index())
}

// modified is when an entry was last changed.
func (t *tree) modified(e entry) time.Time {
	if e.branch == nil {
		return t.started
	}
	return e.branch.time
}

// target is where a symbolic link leads, relative to its folder. It is "" for what is no
// link, and for one that leads out of the torrent, to what is not there, or over another
// link: that is shown as the empty file that it is.
func (e entry) target() string {
	file := e.file()
	if file.Link == nil || file.Length > 0 {
		return ""
	}
	at := entry{branch: e.branch}
	for i, name := range file.Link {
		next, ok := at.child(name)
		if !ok {
			return ""
		}
		if next.file().Link != nil && (i < len(file.Link)-1 || next == e) {
			return ""
		}
		at = next
	}
	up := strings.Repeat("../", len(file.Path)-1)
	return path.Clean(up + strings.Join(file.Link, "/"))
}
