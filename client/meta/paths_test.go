package meta

import (
	"maps"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// fakeFiles is a disk in memory. With folds it takes names for the same that differ in
// case, composition, or dots and blanks at the end, as macOS or Windows do.
type fakeFiles struct {
	folds bool
	nodes map[string]fakeNode // by key
}

type fakeNode struct {
	path   string // as it was made
	folder bool
}

func newFakeFiles(folds bool) *fakeFiles {
	return &fakeFiles{folds: folds, nodes: map[string]fakeNode{"/": {"/", true}}}
}

// key is what tells files apart on this disk.
func (f *fakeFiles) key(path string) string {
	if !f.folds {
		return path
	}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = foldName(trimName(part))
	}
	return strings.Join(parts, "/")
}

func (f *fakeFiles) stat(path string) (there, folder bool) {
	node, there := f.nodes[f.key(path)]
	return there, node.folder
}

func (f *fakeFiles) same(a, b string) bool {
	there, _ := f.stat(a)
	return there && f.key(a) == f.key(b)
}

func (f *fakeFiles) list(folder string) (names []string) {
	for _, node := range f.nodes {
		if node.path != "/" && f.key(filepath.Dir(node.path)) == f.key(folder) {
			names = append(names, filepath.Base(node.path))
		}
	}
	return names
}

// write makes a file and the folders that it is in, unless something is in the way.
func (f *fakeFiles) write(path string) bool {
	if there, folder := f.stat(path); there {
		return !folder
	}
	if !f.mkdir(filepath.Dir(path)) {
		return false
	}
	f.nodes[f.key(path)] = fakeNode{path: path}
	return true
}

func (f *fakeFiles) mkdir(path string) bool {
	if there, folder := f.stat(path); there {
		return folder
	}
	if !f.mkdir(filepath.Dir(path)) {
		return false
	}
	// On a disk that folds, what is in a folder is listed under its first name.
	if f.folds {
		path = filepath.Join(f.nodes[f.key(filepath.Dir(path))].path, filepath.Base(path))
	}
	f.nodes[f.key(path)] = fakeNode{path, true}
	return true
}

// checkPaths fails unless all files have a place of their own on this disk, inside root.
func checkPaths(t *testing.T, info *Info, files *fakeFiles, paths []string) {
	t.Helper()
	seen, folders := make(map[string]int), make(map[string]int)
	for i, path := range paths {
		if info.Files[i].Pad {
			continue
		}
		if !strings.HasPrefix(path, "/folder/") || filepath.Clean(path) != path {
			t.Fatalf("file %d is at %q", i, path)
		}
		if other, twice := seen[files.key(path)]; twice {
			t.Fatalf("files %d and %d are both at %q", other, i, path)
		}
		seen[files.key(path)] = i
		for folder := filepath.Dir(path); folder != "/folder"; folder = filepath.Dir(folder) {
			folders[files.key(folder)] = i
		}
	}
	for key, i := range seen {
		if other, both := folders[key]; both {
			t.Fatalf("file %d at %q is a folder of file %d at %q", i, paths[i], other, paths[other])
		}
	}
}

// checkRuns downloads a torrent in several runs, on a disk that has files already, and
// fails if a later run looks for a file elsewhere than an earlier.
func checkRuns(t *testing.T, info *Info, files *fakeFiles, pick func(n int) int) {
	t.Helper()
	first := info.pathsAt(files, "/folder")
	checkPaths(t, info, files, first)
	for range 3 {
		for range len(first) {
			if path := first[pick(len(first))]; path != "" {
				files.write(path)
			}
		}
		if again := info.pathsAt(files, "/folder"); !slices.Equal(first, again) {
			t.Fatalf("the first run has %q, a later one %q", first, again)
		}
	}
	for _, path := range first {
		if path != "" {
			files.write(path)
		}
	}
	if again := info.pathsAt(files, "/folder"); !slices.Equal(first, again) {
		t.Fatalf("when it is complete, %q is looked for at %q", first, again)
	}
}

// awkward are components that are alike to some file system, or have to be changed.
var awkward = []string{
	"a", "A", "a (2)", "A (2)", "a (3)", "a.", "a ", "a?", "a*", "a_", "A_", "a_ ", "a? ", "a_ (2)", "é", "e\u0301", "É",
	"ß", "ss", "SS", "", ".", "..a", "/a", "a/b", `a\b`, "CON", "con", "_CON", "a.txt", "A.TXT", "a (2).txt", "a\xff", "a\ufffd",
	strings.Repeat("x", 255), strings.Repeat("x", 256), strings.Repeat("X", 300), strings.Repeat("x", 251) + " (2)",
}

// Any list of names, and any files on disk: each file has its own place, in every run.
func TestPathsAreDistinctWhateverIsOnDisk(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the paths of this test are not those of Windows")
	}
	rounds := 5000
	if testing.Short() {
		rounds = 1000
	}
	random := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		words := awkward
		if round%2 == 0 { // few words make many collisions
			start := random.IntN(len(awkward) - 4)
			words = awkward[start : start+4]
		}
		path := func() []string {
			parts := make([]string, 1+random.IntN(3))
			for i := range parts {
				parts[i] = words[random.IntN(len(words))]
			}
			return parts
		}
		var list [][]string
		for range 1 + random.IntN(6) {
			list = append(list, path())
		}
		info, err := ParseInfo(filesOf(t, list...))
		if err != nil {
			t.Fatalf("%q: %v", list, err)
		}
		checkInfo(t, info)
		files := newFakeFiles(round%3 == 0)
		for range random.IntN(8) {
			parts := path()
			if random.IntN(2) == 0 {
				parts = list[random.IntN(len(list))]
			}
			files.write(filepath.Join(append([]string{"/folder/n"}, parts...)...))
		}
		before := maps.Clone(files.nodes)
		checkRuns(t, info, files, random.IntN)
		if t.Failed() {
			t.Fatalf("round %d: %q on a disk with %v", round, list, before)
		}
	}
}

func FuzzPaths(f *testing.F) {
	if runtime.GOOS == "windows" {
		f.Skip("the paths of this test are not those of Windows")
	}
	f.Add("a\na", "a", false)
	f.Add("a\na\na (2)", "a (2)\na", false)
	f.Add("Foo\nfoo", "foo", true)
	f.Add("a\na/b", "a/b", false)
	f.Add("d?/a\nd_/a\nD_/a", "d_/a\nd?/a", true)
	f.Fuzz(func(t *testing.T, list, onDisk string, folds bool) {
		var paths [][]string
		for path := range strings.SplitSeq(list, "\n") {
			paths = append(paths, strings.Split(path, "/"))
		}
		info, err := ParseInfo(filesOf(t, paths...))
		if err != nil {
			return
		}
		checkInfo(t, info)
		files := newFakeFiles(folds)
		for path := range strings.SplitSeq(onDisk, "\n") {
			if filepath.IsLocal(path) {
				files.write(filepath.Join("/folder/n", path))
			}
		}
		checkRuns(t, info, files, rand.New(rand.NewPCG(uint64(len(list)), uint64(len(onDisk)))).IntN)
	})
}

// What other programs and seeders have on disk is found wherever it can only be one file.
func TestPathsFindsWhatOnlyOneFileClaims(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the paths of this test are not those of Windows")
	}
	for _, test := range []struct {
		name                string
		list, onDisk, found []string
		folds               bool
	}{
		{name: "nothing", list: []string{"a?", "b"}, found: []string{"a_", "b"}},
		{name: "original name", list: []string{"a?", "b"}, onDisk: []string{"a?"}, found: []string{"a?", "b"}},
		{name: "one of them missing", list: []string{"a?", "b?", "c"}, onDisk: []string{"b?"}, found: []string{"a_", "b?", "c"}},
		{name: "in a folder", list: []string{"d?/x", "d?/y", "z"}, onDisk: []string{"d?/y"}, found: []string{"d_/x", "d?/y", "z"}},
		{name: "some of both", list: []string{"a?", "b?"}, onDisk: []string{"a?", "b?", "a_"}, found: []string{"a_", "b?"}},
		{name: "twice", list: []string{"a", "a"}, onDisk: []string{"a"}, found: []string{"a", "a (2)"}},
		{name: "three times", list: []string{"d/a", "d/a", "d/a"}, onDisk: []string{"d/a"}, found: []string{"d/a", "d/a (2)", "d/a (3)"}},
		{name: "twice, and a numbered one", list: []string{"a", "a", "a (2)"}, onDisk: []string{"a", "a (2)"}, found: []string{"a", "a (3)", "a (2)"}},
		{name: "twice, with a name that changes", list: []string{"a?", "a?"}, onDisk: []string{"a?"}, found: []string{"a?", "a_ (2)"}},
		{name: "folder and file", list: []string{"a/b", "a"}, onDisk: []string{"a/b"}, found: []string{"a/b", "a (2)"}},
		{name: "file and folder", list: []string{"a", "a/b"}, onDisk: []string{"a/b"}, found: []string{"a", "a (2)/b"}},
		{name: "both spellings", list: []string{"Foo", "foo"}, onDisk: []string{"Foo", "foo"}, found: []string{"Foo", "foo"}},
		{name: "the second spelling", list: []string{"Foo", "foo"}, onDisk: []string{"foo"}, found: []string{"Foo", "foo"}},
		{name: "the first spelling", list: []string{"Foo", "foo"}, onDisk: []string{"Foo"}, found: []string{"Foo", "foo (2)"}},
		{name: "ignoring case", list: []string{"Foo", "foo"}, onDisk: []string{"Foo"}, found: []string{"Foo", "foo (2)"}, folds: true},
		{name: "ignoring case, the second spelling", list: []string{"Foo", "foo"}, onDisk: []string{"foo"}, found: []string{"Foo", "foo (2)"}, folds: true},
		{name: "folders of both spellings", list: []string{"D/x", "d/x"}, onDisk: []string{"D/x", "d/x"}, found: []string{"D/x", "d/x"}},
		{name: "folders, ignoring case", list: []string{"D/x", "d/x"}, onDisk: []string{"d/x"}, found: []string{"D/x", "d (2)/x"}, folds: true},
		{name: "composition", list: []string{"\u00e9", "e\u0301"}, onDisk: []string{"\u00e9", "e\u0301"}, found: []string{"\u00e9", "e\u0301"}},
		{name: "ignoring composition", list: []string{"\u00e9", "e\u0301"}, onDisk: []string{"e\u0301"}, found: []string{"\u00e9", "e\u0301 (2)"}, folds: true},
		{name: "dots at the end", list: []string{"a", "a."}, onDisk: []string{"a", "a."}, found: []string{"a", "a."}},
		{name: "dots at the end, ignored", list: []string{"a", "a."}, onDisk: []string{"a"}, found: []string{"a", "a (2)"}, folds: true},
		{name: "a folder in the place of a file", list: []string{"a?", "b"}, onDisk: []string{"a?/x"}, found: []string{"a_", "b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var list [][]string
			for _, path := range test.list {
				list = append(list, strings.Split(path, "/"))
			}
			info, err := ParseInfo(filesOf(t, list...))
			if err != nil {
				t.Fatal(err)
			}
			files := newFakeFiles(test.folds)
			for _, path := range test.onDisk {
				files.write("/folder/n/" + path)
			}
			var found []string
			for _, path := range info.pathsAt(files, "/folder") {
				found = append(found, strings.TrimPrefix(path, "/folder/n/"))
			}
			if !reflect.DeepEqual(found, test.found) {
				t.Errorf("found %q, want %q", found, test.found)
			}
		})
	}
}

// A folder of another torrent in the place of our own hides nothing.
func TestPathsWhenBothNamesOfTheFolderAreThere(t *testing.T) {
	info, err := ParseInfo(infoOf(t, 1, dict{"length": nil, "name": "What?", "files": list{dict{"path": list{"a"}, "length": 1}}}))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		t.Skip("the names of this test cannot exist on Windows")
	}
	files := newFakeFiles(false)
	files.write("/folder/What_/other")
	files.write("/folder/What?/a")
	if got := info.pathsAt(files, "/folder"); got[0] != "/folder/What?/a" {
		t.Errorf("our data is looked for at %q", got)
	}
	files.write("/folder/What_/a")
	if got := info.pathsAt(files, "/folder"); got[0] != "/folder/What_/a" {
		t.Errorf("our data under the safe name is looked for at %q", got)
	}
}
