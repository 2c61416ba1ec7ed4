package meta

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	root := writeBandDemo(t)
	folder := filepath.Join(root, "Band Demo")
	torrent, err := ParseTorrent(readFile(t, "testdata/libtorrent-hybrid.torrent"))
	if err != nil {
		t.Fatal(err)
	}
	info := torrent.Info
	file := func(result *Result, name string) FileResult {
		t.Helper()
		for i := range info.Files {
			if info.Files[i].DisplayPath() == name {
				return result.Files[i]
			}
		}
		t.Fatalf("no file %q", name)
		return FileResult{}
	}
	// The files begin at piece borders: 4, 1, 5 and 1 pieces.
	tests := []struct {
		name, file string
		change     func(path string) error
		want       FileState
		bad        int   // pieces
		good       int64 // bytes of the file
	}{
		{"nothing", "track 1.ogg", func(string) error { return nil }, FileOK, 0, 50000},
		{"a flipped bit", "track 1.ogg", func(path string) error {
			content := readFile(t, path)
			content[20000] ^= 1
			return os.WriteFile(path, content, 0o644)
		}, FileDamaged, 1, 50000 - 16384},
		{"shorter", "track 10.ogg", func(path string) error { return os.Truncate(path, 40000) }, FileWrongSize, 3, 2 * 16384},
		{"longer", "track 10.ogg", func(path string) error { return os.Truncate(path, 80000) }, FileWrongSize, 0, 70001},
		{"missing", "track 2.ogg", os.Remove, FileMissing, 1, 0},
		{"empty and missing", "extras/empty.nfo", os.Remove, FileMissing, 0, 0},
		{"a folder instead", "track 2.ogg", func(path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o755))
		}, FileUnreadable, 1, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(folder, test.file)
			content := readFile(t, path)
			if err := test.change(path); err != nil {
				t.Fatal(err)
			}
			var checked int64
			result, err := Verify(t.Context(), info, root, func(done, total int64) { checked = done })
			if err != nil {
				t.Fatal(err)
			}
			got := file(result, test.file)
			if got.State != test.want || got.GoodBytes != test.good || (got.State == FileUnreadable) != (got.Err != nil) {
				t.Errorf("%v, %d good bytes, %v", got.State, got.GoodBytes, got.Err)
			}
			if result.GoodPieces != info.NumPieces()-test.bad || result.Complete() != (test.want == FileOK) || checked != info.Length {
				t.Errorf("%d of %d pieces, complete: %v, checked %d", result.GoodPieces, info.NumPieces(), result.Complete(), checked)
			}
			os.Remove(path)
			writeFile(t, path, content)
		})
	}
}

func TestVerifyNothing(t *testing.T) {
	torrent, err := ParseTorrent(readFile(t, "testdata/libtorrent-v1.torrent"))
	if err != nil {
		t.Fatal(err)
	}
	result, err := Verify(t.Context(), torrent.Info, filepath.Join(t.TempDir(), "absent"), nil)
	if err != nil || result.GoodPieces != 0 || result.GoodBytes != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	for i := range result.Files {
		if result.Files[i].State != FileMissing {
			t.Errorf("file %d is %v", i, result.Files[i].State)
		}
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	root := writeBandDemo(t)
	torrent, err := ParseTorrent(readFile(t, "testdata/libtorrent-v1.torrent"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Verify(ctx, torrent.Info, root, func(_, _ int64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLocate(t *testing.T) {
	root := writeBandDemo(t)
	folder, err := ParseTorrent(readFile(t, "testdata/libtorrent-v1.torrent"))
	if err != nil {
		t.Fatal(err)
	}
	single, err := ParseTorrent(readFile(t, "testdata/transmission-private.torrent"))
	if err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(root, "Band Demo")
	for _, test := range []struct {
		info  *Info
		path  string
		first string // "": not found
	}{
		{folder.Info, root, filepath.Join(inside, folder.Info.Files[0].DisplayPath())},
		{folder.Info, inside, filepath.Join(inside, folder.Info.Files[0].DisplayPath())},
		{folder.Info, filepath.Join(inside, "extras"), ""},
		{folder.Info, filepath.Join(root, "absent"), ""},
		{single.Info, inside, filepath.Join(inside, "track 10.ogg")},
		{single.Info, filepath.Join(inside, "track 2.ogg"), filepath.Join(inside, "track 2.ogg")},
		{single.Info, root, ""},
		{single.Info, filepath.Join(root, "absent"), ""},
	} {
		paths, found := test.info.Locate(test.path)
		if found != (test.first != "") || found && paths[0] != test.first {
			t.Errorf("%s: %q, %v", test.path, paths, found)
		}
	}
}

func TestRoot(t *testing.T) {
	root := writeBandDemo(t)
	torrent, err := ParseTorrent(readFile(t, "testdata/libtorrent-v1.torrent"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		root:                             root,
		filepath.Join(root, "Band Demo"): root,
		filepath.Join(root, "Band Demo", "extras"): "",
		filepath.Join(root, "absent"):              "",
	} {
		if got, found := torrent.Info.Root(path); got != want || found != (want != "") {
			t.Errorf("%s: %q, %v", path, got, found)
		}
	}
}
