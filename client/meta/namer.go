package meta

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// namer gives every file of a torrent a path that no other file has, not even
// on a file system that ignores case or Unicode composition, and where no file
// is a folder of another. What it gives depends on the torrent alone. Its work
// is linear in the number of path components.
//
// A file or folder whose name is safe and not taken keeps it, wherever it is in the
// torrent. Only then are names given to those that must be called something else:
// "b (2)" is not given to the second "b" where a file of that name is to come.
type namer struct {
	folders map[child]int32 // their numbers, by the component as it is in the torrent
	nodes   []folderNode    // by number; the torrent's own folder is number 0
	taken   map[child]string
	claims  []claim
	changed []changedFile
	arena   []string // unused room for paths
	last    lastPath
}

// lastPath is the folders of the file before: mostly they are those of the next one.
type lastPath struct {
	components [][]byte
	names      []string
	folders    []int32
}

// shared is how many folders, from the outermost on, a path has in common with it.
func (l *lastPath) shared(components [][]byte) int {
	for depth, component := range l.components {
		if depth >= len(components)-1 || !bytes.Equal(component, components[depth]) {
			return depth
		}
	}
	return len(l.components)
}

// child is a name in a folder.
type child struct {
	folder int32
	name   string
}

// folderNode is a folder of the torrent.
type folderNode struct {
	parent int32
	claim  int32  // index of the claim to its name; -1: it keeps raw
	moved  bool   // it, or a folder it is in, has a claim
	raw    string // as it is in the torrent
}

// claim is a file or folder that cannot just be called what the torrent says.
type claim struct {
	child        // what it is to be called, if that is free
	raw   string // what the torrent says
	twin  bool   // another file or folder is called raw too, and has the better claim to it
}

// changedFile is a file whose path is not what the torrent says.
type changedFile struct {
	index  int
	names  []string // of its path; put right by finish
	folder int32
	claim  int32 // as in folderNode
	raw    string
}

// newNamer makes room for about so many files.
func newNamer(files int) *namer {
	return &namer{
		folders: make(map[child]int32),
		nodes:   []folderNode{{claim: -1}},
		taken:   make(map[child]string, files),
	}
}

// nothing is what a file is called whose path says nothing, as for libtorrent.
const nothing = "_"

// path reads a bencoded list of components: the path of file number index. It returns
// safe names for them, which can change until finish. Padding files are never on disk,
// so their names need not differ from others.
func (n *namer) path(list []byte, index int, pad bool) (names []string, err error) {
	var buffer [maxPathDepth][]byte
	components := buffer[:0]
	err = eachItem(list, func(b []byte) ([]byte, error) {
		start, length, err := stringBounds(b, 0)
		if err != nil {
			return nil, errors.New("a part of its path is not a string")
		}
		if len(components) == maxPathDepth {
			return nil, fmt.Errorf("its path has more than %d components", maxPathDepth)
		}
		components = append(components, b[start:start+length])
		return b[start+length:], nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("its \"path\": %w", err)
	case len(components) == 0:
		return nil, errors.New("it has an empty path")
	}
	names = n.room(len(components))
	shared := n.last.shared(components)
	names = append(names, n.last.names[:shared]...)
	kept := components[:shared]
	for _, component := range components[shared:] {
		name, err := safeName(component)
		if err != nil {
			return nil, err
		}
		if name != "" {
			names = append(names, name)
			kept = append(kept, component)
		}
	}
	if len(names) == 0 {
		names, kept = append(names, nothing), append(kept, []byte(nothing))
	}
	if pad {
		return names, nil
	}
	return names, n.place(kept, names, min(shared, len(kept)-1), index)
}

// room returns an empty slice for count names, many of which share one
// allocation.
func (n *namer) room(count int) []string {
	const most = 4096
	if cap(n.arena)-len(n.arena) < count {
		n.arena = make([]string, 0, max(count, min(2*cap(n.arena), most)))
	}
	start := len(n.arena)
	n.arena = n.arena[:start+count]
	return n.arena[start : start : start+count]
}

// place finds the folder of a file, and takes the name of it that is free. So many
// folders are shared with the file before.
func (n *namer) place(components [][]byte, names []string, shared, index int) error {
	folder := int32(0)
	if shared > 0 {
		folder = n.last.folders[shared-1]
	}
	last := len(names) - 1
	l := &n.last
	l.components, l.names, l.folders = l.components[:shared], l.names[:shared], l.folders[:shared]
	for depth := shared; depth < last; depth++ {
		id, known := n.folders[child{folder, string(components[depth])}]
		if !known {
			if len(n.nodes) > maxFolders {
				return fmt.Errorf("the torrent has more than the %d folders that are allowed", maxFolders)
			}
			id = int32(len(n.nodes))
			raw := string(components[depth])
			n.folders[child{folder, raw}] = id
			at := n.claim(folder, names[depth], components[depth])
			n.nodes = append(n.nodes, folderNode{folder, at, at >= 0 || n.nodes[folder].moved, raw})
		}
		folder = id
		l.components = append(l.components, components[depth])
		l.names = append(l.names, names[depth])
		l.folders = append(l.folders, id)
	}
	at := n.claim(folder, names[last], components[last])
	if at >= 0 || n.nodes[folder].moved {
		n.changed = append(n.changed, changedFile{index, names, folder, at, string(components[last])})
	}
	return nil
}

// claim takes a name in a folder if it is what the torrent says and nobody has it;
// else it returns the index of a claim, for which finish will find a name.
func (n *namer) claim(folder int32, name string, raw []byte) int32 {
	wanted := child{folder, name}
	if name == string(raw) && n.take(wanted, name) {
		return -1
	}
	n.claims = append(n.claims, claim{child: wanted, raw: string(raw)})
	return int32(len(n.claims) - 1)
}

// take takes a name for what the torrent calls raw, unless it is taken already.
func (n *namer) take(wanted child, raw string) bool {
	key := child{wanted.folder, foldName(wanted.name)}
	if _, taken := n.taken[key]; taken {
		return false
	}
	n.taken[key] = raw
	return true
}

// finish gives all names that are still wanted. It returns what is needed to find files
// under the names that the torrent itself uses, nil if that are the same.
func (n *namer) finish() (*originals, error) {
	if len(n.changed) == 0 {
		return nil, nil
	}
	rivals, err := n.settle()
	if err != nil {
		return nil, err
	}
	for _, file := range n.changed {
		last := len(file.names) - 1
		if file.claim >= 0 {
			file.names[last] = n.claims[file.claim].name
		}
		for folder := file.folder; n.nodes[folder].moved; folder = n.nodes[folder].parent {
			last--
			if at := n.nodes[folder].claim; at >= 0 {
				file.names[last] = n.claims[at].name
			}
		}
	}
	return n.originals(rivals), nil
}

// rivals are what files and folders are called that want the same name in a folder, and
// what the first of them got. It is kept by that name, folded.
type rivals map[child][]string

// settle gives a name to each claim: the one that is wanted if it is free, else the
// first free one of "name (2)", "name (3)" and so on.
func (n *namer) settle() (rivals, error) {
	var late []int
	rivals := make(rivals)
	rivalRaws := make(map[child]bool)
	for i := range n.claims {
		c := &n.claims[i]
		if n.take(c.child, c.raw) {
			continue
		}
		if late = append(late, i); len(late) > maxRenamed {
			return nil, fmt.Errorf("more than %d of its files and folders have names that others have too", maxRenamed)
		}
		key := child{c.folder, foldName(c.name)}
		if rivals[key] == nil {
			holder := n.taken[key]
			rivals[key] = []string{holder}
			if name, err := safeName([]byte(holder)); err == nil && name != holder {
				rivals[key] = append(rivals[key], name)
			}
		}
		raw := child{c.folder, c.raw}
		c.twin = n.taken[key] == c.raw || rivalRaws[raw]
		if !c.twin {
			rivalRaws[raw] = true
			rivals[key] = append(rivals[key], c.raw)
		}
	}
	// All names that are alike when shortened count together, so that a million of them
	// do not each start from 2.
	next := make(map[child]int)
	for _, i := range late {
		c := &n.claims[i]
		short := shorten(c.name, "", maxNameLength-suffixRoom)
		series := child{c.folder, foldName(short)}
		for number := max(next[series], 2); ; number++ {
			c.name = shorten(short, " ("+strconv.Itoa(number)+")", maxNameLength)
			if n.take(c.child, c.raw) {
				next[series] = number + 1
				break
			}
		}
	}
	return rivals, nil
}
