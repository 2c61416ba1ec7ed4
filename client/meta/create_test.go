package meta

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func create(t *testing.T, path string, o CreateOptions) *Torrent {
	t.Helper()
	b, err := Create(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	torrent, err := ParseTorrent(b)
	if err != nil {
		t.Fatal(err)
	}
	return torrent
}

func TestCreateFolder(t *testing.T) {
	root := writeBandDemo(t)
	var last, calls int64
	want := Torrent{
		Trackers: [][]string{{"http://a/", "udp://b:1"}, {"wss://c"}}, WebSeeds: []string{"https://d/"},
		Comment: "why", CreatedBy: "causeway", Created: time.Unix(1_000_000_000, 0).UTC(),
	}
	torrent := create(t, filepath.Join(root, "Band Demo"), CreateOptions{
		PieceLength: 16 << 10, Private: true, Source: "tag", Comment: want.Comment,
		Trackers: want.Trackers, WebSeeds: want.WebSeeds, Created: want.Created,
		Progress: func(done, total int64) {
			if calls++; done <= last || total != 137619 {
				t.Errorf("progress %d of %d after %d", done, total, last)
			}
			last = done
		},
	})
	info := torrent.Info
	want.Info = info
	if !reflect.DeepEqual(*torrent, want) {
		t.Errorf("got %+v", torrent)
	}
	var paths []string
	for i := range info.Files {
		paths = append(paths, info.Files[i].DisplayPath())
	}
	if !slices.Equal(paths, []string{"extras/cover ü.png", "extras/empty.nfo", "track 1.ogg", "track 2.ogg", "track 10.ogg"}) {
		t.Errorf("files %q", paths)
	}
	if info.Name != "Band Demo" || !info.MultiFile || !info.Private || info.Source != "tag" || info.NumPieces() != 9 || last != info.Length || calls != 9 {
		t.Errorf("%d calls up to %d, %+v", calls, last, info)
	}
	if result, err := Verify(t.Context(), info, root, nil); err != nil || !result.Complete() {
		t.Errorf("%+v, %v", result, err)
	}
}

// transmission-create, asked for the same, gives the same infohash.
func TestCreateGivesTheInfoHashOfTransmission(t *testing.T) {
	root := writeBandDemo(t)
	torrent := create(t, filepath.Join(root, "Band Demo", "track 10.ogg"), CreateOptions{PieceLength: 16 << 10, Private: true})
	if torrent.Info.InfoHash != hashOf(t, "a86e0528fa06deba823907b4b5b29a1b23d0fb3f") {
		t.Errorf("infohash %x", torrent.Info.InfoHash)
	}
}

func TestCreateIsTheSameWithAnyNumberOfWorkers(t *testing.T) {
	root := writeBandDemo(t)
	var first []byte
	for _, workers := range []int{1, 2, 7, 100} {
		b, err := Create(t.Context(), filepath.Join(root, "Band Demo"), CreateOptions{Workers: workers, PieceLength: 16 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		}
		if !bytes.Equal(b, first) {
			t.Errorf("%d workers make another torrent", workers)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "file"), []byte("x"))
	empty := t.TempDir()
	os.Mkdir(filepath.Join(empty, "sub"), 0o755)
	for _, test := range []struct {
		name, path string
		options    CreateOptions
		want       string
	}{
		{"absent", filepath.Join(folder, "absent"), CreateOptions{}, "no such file"},
		{"empty folder", empty, CreateOptions{}, "no data"},
		{"small pieces", folder, CreateOptions{PieceLength: 1024}, "power of two"},
		{"odd pieces", folder, CreateOptions{PieceLength: 48 << 10}, "power of two"},
		{"huge pieces", folder, CreateOptions{PieceLength: 1 << 30}, "power of two"},
		{"name", folder, CreateOptions{Name: "../x"}, "cannot be the name"},
		{"tracker", folder, CreateOptions{Trackers: [][]string{{"tracker.example"}}}, "not a tracker's URL"},
		{"web seed", folder, CreateOptions{WebSeeds: []string{"udp://x"}}, "not a web seed's URL"},
	} {
		_, err := Create(t.Context(), test.path, test.options)
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

func TestCreateWithSymbolicLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need rights on Windows")
	}
	folder, elsewhere := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(folder, "a", "file"), []byte("content"))
	writeFile(t, filepath.Join(elsewhere, "secret"), []byte("x"))
	link := func(target string) {
		t.Helper()
		os.Remove(filepath.Join(folder, "link"))
		if err := os.Symlink(target, filepath.Join(folder, "link")); err != nil {
			t.Fatal(err)
		}
	}
	link("a/file")
	torrent := create(t, folder, CreateOptions{})
	if len(torrent.Info.Files) != 2 || torrent.Info.Files[1].Length != 7 {
		t.Errorf("%+v", torrent.Info.Files)
	}
	for target, want := range map[string]string{
		filepath.Join(elsewhere, "secret"): "leads out of the folder",
		"../..":                            "leads out of the folder",
		"a":                                "not a regular file",
		"link":                             "too many links",
		"absent":                           "no such file",
	} {
		link(target)
		if _, err := Create(t.Context(), folder, CreateOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("link to %s: got %v, want %q", target, err, want)
		}
	}
}

func TestCreateSaysWhatIsLeftOut(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "file"), []byte("x"))
	os.Mkdir(filepath.Join(folder, "hollow"), 0o755)
	var warnings []string
	create(t, folder, CreateOptions{Warn: func(message string) { warnings = append(warnings, message) }})
	if len(warnings) != 1 || !strings.Contains(warnings[0], "hollow") {
		t.Errorf("%q", warnings)
	}
}

func TestCreateNoticesChanges(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	writeFile(t, path, noise(100_000, 1))
	for name, change := range map[string]func(){
		"shorter": func() { writeFile(t, path, noise(50_000, 1)) },
		"longer":  func() { writeFile(t, path, noise(200_000, 1)) },
		"removed": func() { os.Remove(path) },
	} {
		writeFile(t, path, noise(100_000, 1))
		changed := false
		_, err := Create(t.Context(), folder, CreateOptions{PieceLength: 16 << 10, Workers: 1, Progress: func(done, total int64) {
			if !changed {
				changed = true
				change()
			}
		}})
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestCreateEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Create(ctx, filepath.Join(writeBandDemo(t), "Band Demo"), CreateOptions{
		PieceLength: 16 << 10, Progress: func(_, _ int64) { cancel() },
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAutomaticPieceLength(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sparse")
	writeFile(t, path, nil)
	if err := os.Truncate(path, 100<<20); err != nil {
		t.Fatal(err)
	}
	if info := create(t, path, CreateOptions{}).Info; info.PieceLength != 64<<10 || info.NumPieces() != 1600 || info.MultiFile {
		t.Errorf("%d pieces of %d", info.NumPieces(), info.PieceLength)
	}
}

func TestNaturalOrder(t *testing.T) {
	want := []string{"", "1", "01", "2", "10", "A", "a", "a1", "a1b", "a2", "a10", "b", "É", "é"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, compareNatural)
	// Of names that are alike the bytes decide.
	want[1], want[2] = "01", "1"
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
