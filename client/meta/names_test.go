package meta

import (
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNamesThatLeaveTheFolderAreRefused(t *testing.T) {
	for _, name := range []string{
		"..", "../x", "a/../../x", `..\x`, `a\..\b`, "a/..", "/..", "/../x",
		"a\x00b", "\x00", strings.Repeat("x", 2*longName) + "/../" + strings.Repeat("x", 2*longName),
	} {
		for what, raw := range map[string][]byte{
			"name":      infoOf(t, 1, dict{"name": name}),
			"component": filesOf(t, []string{"a", name, "b"}),
			"utf-8":     infoOf(t, 1, dict{"length": nil, "files": list{dict{"length": 1, "path": list{"a"}, "path.utf-8": list{name}}}}),
		} {
			if info, err := ParseInfo(raw); err == nil {
				t.Errorf("%s %q was accepted: %q %+v", what, name, info.Name, info.Files)
			} else if !strings.Contains(err.Error(), "not safe") || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%s %q: %q is not a clear line", what, name, err)
			}
		}
	}
}

func TestAwkwardNamesAreMadeSafe(t *testing.T) {
	long := strings.Repeat("é", 200)
	for _, test := range []struct{ raw, want string }{
		{"plain name.txt", "plain name.txt"},
		{".hidden", ".hidden"},
		{"a..b", "a..b"},
		{"trailing. . ", "trailing"},
		{"a/b", "a_b"},
		{"/etc/passwd", "_etc_passwd"},
		{`\\server\share`, "__server_share"},
		{`C:\x`, "C__x"},
		{"c:/x", "c__x"},
		{"..a", "..a"},
		{"...", ""},
		{"\u2066a\u200f\u061c\u0085\u2029", "_a____"},
		{strings.Repeat("x", 6000) + ".mkv. .", strings.Repeat("x", 251) + ".mkv"},
		{`a\b`, "a_b"},
		{"C:", "C_"},
		{`what? <"yes"|*>: no`, `what_ __yes_____ no`},
		{"tab\tline\nbell\x07del\x7f", "tab_line_bell_del_"},
		{"evil\u202egpj.exe", "evil_gpj.exe"},
		{"CON", "_CON"},
		{"nul.txt", "_nul.txt"},
		{"Aux .tar.gz", "_Aux .tar.gz"},
		{"com1", "_com1"},
		{"LPT¹.x", "_LPT¹.x"},
		{"console", "console"},
		{"com10", "com10"},
		{"bad\xff\xfeutf8", "bad\uFFFDutf8"},
		{strings.Repeat("a", 300) + ".mkv", strings.Repeat("a", 251) + ".mkv"},
		{long + ".mkv", strings.Repeat("é", 125) + ".mkv"},
		{"x." + strings.Repeat("y", 300), "x." + strings.Repeat("y", 253)},
		{strings.Repeat(" ", 400) + "end", ""},
	} {
		got, err := safeName([]byte(test.raw))
		if err != nil || got != test.want {
			t.Errorf("%q: got %q, %v, want %q", test.raw, got, err, test.want)
		}
		if again, err := safeName([]byte(got)); err != nil || again != got {
			t.Errorf("%q is not stable: %q becomes %q, %v", test.raw, got, again, err)
		}
	}
}

func TestNameThatMeansNothingBecomesTheInfoHash(t *testing.T) {
	for _, name := range []any{"", ".", "...", " ", nil} {
		info, err := ParseInfo(infoOf(t, 1, dict{"name": name}))
		if err != nil || len(info.Name) != 40 {
			t.Errorf("%v: %v, %v", name, info, err)
		}
	}
}

func TestEqualNamesAllSurvive(t *testing.T) {
	tests := []struct {
		name  string
		paths []string
		want  []string
	}{
		{"case", []string{"Read.me", "READ.ME", "read.me"}, []string{"Read.me", "READ (2).ME", "read (3).me"}},
		{"duplicates", []string{"a", "a", "a (2)", "a"}, []string{"a", "a (3)", "a (2)", "a (4)"}},
		{"a safe name comes later", []string{"a?", "a_", "a*"}, []string{"a_ (2)", "a_", "a_ (3)"}},
		{"folders of that name come later", []string{"d/x", "D/x", "D (2)/x"}, []string{"d/x", "D (3)/x", "D (2)/x"}},
		{"last part empty", []string{"dir/", "x"}, []string{"dir", "x"}},
		{"last part empty, in a folder with others", []string{"dir/", "dir/a"}, []string{"dir", "dir (2)/a"}},
		{"nothing but empty parts", []string{"", ".", "x"}, []string{"_", "_ (2)", "x"}},
		{"leading slash", []string{"/a", "/b"}, []string{"a", "b"}},

		{"made equal", []string{"a?", "a*"}, []string{"a_", "a_ (2)"}},
		{"composition", []string{"\u00e9", "e\u0301"}, []string{"\u00e9", "e\u0301 (2)"}},
		{"full folding", []string{"straße", "STRASSE"}, []string{"straße", "STRASSE (2)"}},
		{"folders", []string{"D/x", "d/x", "D/y"}, []string{"D/x", "d (2)/x", "D/y"}},
		{"file, then folder", []string{"a", "A/b"}, []string{"a", "A (2)/b"}},
		{"folder, then file", []string{"a/b", "a", "a/c"}, []string{"a/b", "a (2)", "a/c"}},
		{"dropped parts", []string{"a/./b", "a//b"}, []string{"a/b", "a/b (2)"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var paths [][]string
			for _, path := range test.paths {
				paths = append(paths, strings.Split(path, "/"))
			}
			info, err := ParseInfo(filesOf(t, paths...))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range info.Files {
				got = append(got, info.Files[i].DisplayPath())
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestLongEqualNamesKeepTheirExtension(t *testing.T) {
	stem := strings.Repeat("x", 400)
	info, err := ParseInfo(filesOf(t, []string{stem + "1.mkv"}, []string{stem + "2.mkv"}))
	if err != nil {
		t.Fatal(err)
	}
	first, second := info.Files[0].Path[0], info.Files[1].Path[0]
	if len(first) != maxNameLength || len(second) > maxNameLength || !strings.HasSuffix(second, " (2).mkv") {
		t.Errorf("%q %q", first, second)
	}
}

// checkInfo fails unless info keeps every promise of the package.
func checkInfo(t *testing.T, info *Info) {
	t.Helper()
	if !isSafe(info.Name) || info.Length <= 0 || info.PieceLength <= 0 || info.PieceLength > MaxPieceLength {
		t.Fatalf("name %q, length %d, piece length %d", info.Name, info.Length, info.PieceLength)
	}
	var offset int64
	seen := make(map[string]bool) // path: true for a file, false for a folder
	for _, file := range info.Files {
		if file.Offset != offset || file.Length < 0 || len(file.Path) == 0 {
			t.Fatalf("bad file %+v", file)
		}
		offset += file.Length
		if slices.ContainsFunc(file.Path, func(name string) bool { return !isSafe(name) }) || !filepath.IsLocal(filepath.Join(file.Path...)) {
			t.Fatalf("unsafe path %q", file.Path)
		}
		if file.Pad {
			continue
		}
		for depth := 1; depth <= len(file.Path); depth++ {
			path := strings.ToLower(strings.Join(file.Path[:depth], "/"))
			isFile, known := seen[path]
			if known && (isFile || depth == len(file.Path)) {
				t.Fatalf("two files or folders at %q", path)
			}
			seen[path] = depth == len(file.Path)
		}
	}
	var sum int64
	for piece := range info.NumPieces() {
		sum += info.PieceSize(piece)
		if len(info.PieceHash(piece)) != 20 || info.PieceSize(piece) <= 0 {
			t.Fatalf("bad piece %d", piece)
		}
	}
	if offset != info.Length || sum != info.Length {
		t.Fatalf("lengths: files %d, pieces %d, torrent %d", offset, sum, info.Length)
	}
}

func isSafe(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxNameLength && utf8.ValidString(name) &&
		!strings.ContainsAny(name, "/\\:\x00\n\x1b") && strings.TrimRight(name, ". ") == name && !isReservedName(name)
}

func TestPathsFindsDataUnderItsOwnNames(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the names of this test cannot exist on Windows")
	}
	info, err := ParseInfo(infoOf(t, 3, dict{"length": nil, "name": "What?", "files": list{
		dict{"path": list{"a: b", "c"}, "length": 1},
		dict{"path": list{"d"}, "length": 1},
		dict{"path": list{".pad", "1"}, "length": 1, "attr": "p"},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	safe := []string{filepath.Join(root, "What_", "a_ b", "c"), filepath.Join(root, "What_", "d"), ""}
	if got := info.Paths(root); !reflect.DeepEqual(got, safe) {
		t.Errorf("new data goes to %q", got)
	}
	original := []string{filepath.Join(root, "What?", "a: b", "c"), filepath.Join(root, "What?", "d"), ""}
	writeFile(t, original[0], []byte("x"))
	if got := info.Paths(root); !reflect.DeepEqual(got, original) {
		t.Errorf("data of another program is looked for at %q", got)
	}
	writeFile(t, safe[0], []byte("x"))
	if got := info.Paths(root); !reflect.DeepEqual(got, safe) {
		t.Errorf("our own data is looked for at %q", got)
	}
}
