package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func filesIn(r result, t *testing.T) (paths []string) {
	t.Helper()
	for _, file := range r.want(t, exitDone).one(t, "torrent")["files"].([]any) {
		paths = append(paths, file.(map[string]any)["path"].(string))
	}
	return paths
}

// The .torrent file that is written is not in the torrent, wherever it goes.
func TestCreateLeavesItsOutputOut(t *testing.T) {
	for name, test := range map[string]struct{ folder, path, out string }{
		"here":                  {"album", ".", ""},
		"named":                 {"album", ".", "x.torrent"},
		"into the folder":       {"", "album", "album"},
		"into a folder in it":   {"", "album", "album/more/x.torrent"},
		"by a detour":           {"album", "../album", "more/../x.torrent"},
		"from within":           {"album/more", "..", "y.torrent"},
		"under another ending":  {"album", ".", "torrent.bin"},
		"through a linked path": {"", "link", "album/x.torrent"},
		"through a linked out":  {"", "album", "link/x.torrent"},
	} {
		t.Run(name, func(t *testing.T) {
			root := album(t)
			if strings.Contains(name, "linked") {
				if err := os.Symlink("album", filepath.Join(root, "link")); err != nil {
					t.Skip(err)
				}
			}
			arguments := []string{"create", test.path, "--json", "--no-date"}
			if test.out != "" {
				arguments = append(arguments, "-o", test.out)
			}
			var first event
			for range 3 {
				r := causeway(t, filepath.Join(root, test.folder), arguments...)
				if paths := filesIn(r, t); len(paths) != 3 {
					t.Fatalf("the torrent has %q", paths)
				}
				e := r.one(t, "torrent")
				if first == nil {
					first = e
				}
				if e["infohash"] != first["infohash"] {
					t.Error("the second torrent of the same data is another")
				}
			}
		})
	}
}

// A link in the folder to the .torrent file is the file.
func TestCreateLeavesLinksToItsOutputOut(t *testing.T) {
	root := album(t)
	causeway(t, filepath.Join(root, "album"), "create", ".").want(t, exitDone)
	if err := os.Symlink("album.torrent", filepath.Join(root, "album", "link.torrent")); err != nil {
		t.Skip(err)
	}
	if paths := filesIn(causeway(t, filepath.Join(root, "album"), "create", ".", "--json"), t); len(paths) != 3 {
		t.Errorf("the torrent has %q", paths)
	}
}

// Other .torrent files are data like any other; what may be an earlier one is said.
func TestCreateWarnsOfEarlierTorrents(t *testing.T) {
	root := filepath.Join(album(t), "album")
	causeway(t, root, "create", ".", "-o", "old.torrent").want(t, exitDone)
	r := causeway(t, root, "create", ".", "-o", "new.torrent").want(t, exitDone)
	if !strings.Contains(r.stderr, "old.torrent is in the torrent too") {
		t.Errorf("no warning in %q", r.stderr)
	}
	if paths := filesIn(causeway(t, root, "info", "new.torrent", "--json"), t); len(paths) != 4 {
		t.Errorf("the torrent has %q", paths)
	}
	// What a kill leaves behind while one is written is no data.
	if err := os.WriteFile(filepath.Join(root, ".causeway-123.part"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if paths := filesIn(causeway(t, root, "create", ".", "-o", "new.torrent", "--json"), t); len(paths) != 4 {
		t.Errorf("the torrent has %q", paths)
	}
}

// A file that is no torrent is not written over: it may be all there is of what is in it.
func TestCreateWritesOverTorrentsOnly(t *testing.T) {
	root := album(t)
	data := filepath.Join(root, "album", "one.txt")
	content, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path, out, want string
	}{
		{"album/one.txt", "album/one.txt", "is what the torrent is to be of"},
		{"album", "album/one.txt", "is no .torrent file"},
		{"album/two.txt", "album/one.txt", "is no .torrent file"},
	} {
		if r := causeway(t, root, "create", test.path, "-o", test.out).want(t, exitUsage); !strings.Contains(r.stderr, test.want) {
			t.Errorf("%+v: %q", test, r.stderr)
		}
		if now, err := os.ReadFile(data); err != nil || !bytes.Equal(now, content) {
			t.Fatalf("%+v: the data was changed (%v)", test, err)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	// Links stay, and what is no file is written to.
	if err := os.WriteFile(filepath.Join(root, "real.torrent"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(root, "link.torrent")
	if err := os.Symlink("real.torrent", link); err != nil {
		t.Fatal(err)
	}
	causeway(t, root, "create", "album", "-o", link).want(t, exitDone)
	if status, err := os.Lstat(link); err != nil || status.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became a file: %v, %v", status, err)
	}
	causeway(t, root, "info", "real.torrent").want(t, exitDone)
	if r := causeway(t, root, "create", "album", "-o", "/dev/stdout").want(t, exitDone); !strings.HasPrefix(r.stdout, "d") {
		t.Errorf("/dev/stdout got %.20q", r.stdout)
	}
}

// Names may be as long as file systems have them.
func TestCreateWithLongNames(t *testing.T) {
	root := t.TempDir()
	for _, length := range []int{230, 235, 246, 247, 248, 255} {
		name := strings.Repeat("n", length)
		if err := os.WriteFile(filepath.Join(root, name), []byte("data"), 0o644); err != nil {
			t.Skipf("a name of %d bytes: %v", length, err)
		}
		e := causeway(t, root, "create", name, "--json").want(t, exitDone).one(t, "torrent")
		if e["name"] != name {
			t.Errorf("a name of %d bytes became %v", length, e["name"])
		}
		causeway(t, root, "verify", e["path"].(string), ".").want(t, exitDone)

		out := strings.Repeat("o", length-len(".torrent")) + ".torrent"
		causeway(t, root, "create", name, "-o", out).want(t, exitDone)
		causeway(t, root, "info", out).want(t, exitDone)
	}
	left, err := filepath.Glob(filepath.Join(root, "*.part"))
	if hidden, _ := filepath.Glob(filepath.Join(root, ".causeway*")); err != nil || len(left)+len(hidden) > 0 {
		t.Errorf("left behind: %q %q", left, hidden)
	}
}
