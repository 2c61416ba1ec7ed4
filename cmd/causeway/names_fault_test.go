package main_test

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/client/meta"
)

// namedTorrent is a torrent whose files have any names, also the same ones.
type namedTorrent struct {
	path     string
	info     *meta.Info
	contents [][]byte // of its files
}

// makeNamed makes files of some pieces each; names that end with an exclamation mark are
// of empty ones.
func makeNamed(t *testing.T, folder string, names []string) *namedTorrent {
	t.Helper()
	const pieceLength = 16 << 10
	n := &namedTorrent{path: filepath.Join(folder, "named.torrent")}
	var list strings.Builder
	var all []byte
	for i, name := range names {
		name, empty := strings.CutSuffix(name, "!")
		content := make([]byte, 100_003)
		random := rand.NewChaCha8([32]byte{byte(i + 1)})
		random.Read(content)
		if empty {
			content = nil
		}
		n.contents = append(n.contents, content)
		all = append(all, content...)
		fmt.Fprintf(&list, "d6:lengthi%de4:pathl", len(content))
		for part := range strings.SplitSeq(name, "/") {
			fmt.Fprintf(&list, "%d:%s", len(part), part)
		}
		list.WriteString("ee")
	}
	var pieces []byte
	for piece := range slices.Chunk(all, pieceLength) {
		sum := sha1.Sum(piece)
		pieces = append(pieces, sum[:]...)
	}
	torrent := fmt.Appendf(nil, "d4:infod5:filesl%se4:name1:n12:piece lengthi%de6:pieces%d:%see", &list, pieceLength, len(pieces), pieces)
	parsed, err := meta.ParseTorrent(torrent)
	if err != nil {
		t.Fatal(err)
	}
	n.info = parsed.Info
	if err := os.WriteFile(n.path, torrent, 0o644); err != nil {
		t.Fatal(err)
	}
	return n
}

// put writes all files of the torrent below a folder.
func (n *namedTorrent) put(t *testing.T, folder string) {
	t.Helper()
	for i, path := range n.info.Paths(folder) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, n.contents[i], 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// check fails unless the folder has each file of the torrent once, and nothing else,
// whatever they are called there.
func (n *namedTorrent) check(t *testing.T, folder string) {
	t.Helper()
	left := slices.Clone(n.contents)
	err := filepath.WalkDir(filepath.Join(folder, "n"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(left, func(want []byte) bool { return bytes.Equal(want, content) })
		if at < 0 {
			t.Errorf("%s is none of the files that are still to be found", path)
			return nil
		}
		left = slices.Delete(left, at, at+1)
		return nil
	})
	if err != nil || len(left) > 0 {
		t.Fatalf("%d files are not in %s (%v)", len(left), folder, err)
	}
}

// Files of one name, or of names that some file systems take for one, are all there after
// a download, and stay there: in further runs, after kills, when checked, and when seeded.
func TestFilesOfOneName(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, names := range map[string][]string{
		"twice":                        {"a", "a"},
		"in a folder":                  {"d/a", "d/a", "d/b"},
		"three times":                  {"a", "a", "a"},
		"the second one empty":         {"a", "a!", "b"},
		"the first one empty":          {"a!", "a", "b"},
		"with a numbered one":          {"a", "a", "a (2)"},
		"numbered ones first":          {"a (2)", "a", "a", "a (3)"},
		"folder and file":              {"a/b", "a"},
		"file and folder":              {"a", "a/b", "a/c"},
		"case":                         {"Foo", "foo", "FOO/x"},
		"composition":                  {"\u00e9", "e\u0301"},
		"long":                         {long + "1", long + "2", long + "1"},
		"dots and blanks":              {"a", "a.", "a ", "a?"},
		"made equal":                   {"a?", "a*", "a_", "d?/a", "d*/a"},
		"empty parts and odd slashes":  {"d/", "d//a", "/d/a", ".", "d"},
		"with extensions, in a folder": {"d/a.mkv", "D/a.mkv", "d/A.MKV", "d/a (2).mkv"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tor := makeNamed(t, t.TempDir(), names)
			data := t.TempDir()
			tor.put(t, data)
			run := start(t, args([]string{"seed", tor.path, "--data", data}, alone)...)
			listening, err := run.WaitEvent(within(t, patience), "listening")
			if err != nil {
				t.Fatal(err)
			}
			peer := []string{"--peer", loopbackAddr(t, listening.TCP)}

			dir, state := t.TempDir(), []string{"--state", t.TempDir()}
			download := args([]string{"download", tor.path, "-o", dir}, alone)
			waitExit(t, start(t, args(download, state, peer)...), 0)
			tor.check(t, dir)
			waitExit(t, start(t, "verify", tor.path, dir), 0)
			for _, run := range [][]string{state, nil} { // continued, and as if for the first time: no peer is needed
				waitExit(t, start(t, args(download, run)...), 0)
				tor.check(t, dir)
			}
			waitExit(t, start(t, "verify", tor.path, dir), 0)
			again := start(t, args([]string{"seed", tor.path, "--data", dir}, alone)...)
			if _, err := again.WaitEvent(within(t, patience), "seeding"); err != nil {
				t.Fatal(err)
			}
			if warning, warned := again.Last("warning"); warned {
				t.Errorf("seeding what was downloaded: %s", warning.Message)
			}
			tor.check(t, dir)

			dir, state = t.TempDir(), []string{"--state", t.TempDir()}
			download = args([]string{"download", tor.path, "-o", dir}, alone, state, peer)
			for range 2 {
				killed := start(t, args(download, []string{"--down-limit", "50K"})...)
				if _, err := killed.WaitFor(within(t, patience), "a piece", hasSome); err != nil {
					t.Fatal(err)
				}
				killed.Kill()
			}
			waitExit(t, start(t, download...), 0)
			tor.check(t, dir)
			waitExit(t, start(t, "verify", tor.path, dir), 0)
		})
	}
}

// Names that are the same a hundred thousand times cost no more than others.
func TestManyFilesOfOneName(t *testing.T) {
	t.Parallel()
	names := slices.Repeat([][]string{{"a"}}, 100_000)
	torrent := info{files: paths(names...), pieceLength: "i16777216e"}.torrent()
	path := filepath.Join(t.TempDir(), "many.torrent")
	if err := os.WriteFile(path, torrent, 0o644); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	waitExit(t, start(t, "info", path), 0)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "n"), 0o755); err != nil {
		t.Fatal(err)
	}
	waitExit(t, start(t, "verify", path, dir), 1)
	if took := time.Since(began); took > time.Minute { // to compare each with each takes hours
		t.Errorf("it took %v", took)
	}
}

// What other programs stored under the names of the torrent is found, each file by itself.
func TestFilesOfOtherPrograms(t *testing.T) {
	t.Parallel()
	tor := makeNamed(t, t.TempDir(), []string{"a: b", "c?", "d", "Foo", "foo", "e?/f"})
	dir := t.TempDir()
	for i, name := range []string{"a: b", "c?", "d", "Foo", "foo", "e?/f"} {
		path := filepath.Join(dir, "n", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if name == "c?" {
			continue // this one is missing
		}
		if err := os.WriteFile(path, tor.contents[i], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data := t.TempDir()
	tor.put(t, data)
	run := start(t, args([]string{"seed", tor.path, "--data", data}, alone)...)
	listening, err := run.WaitEvent(within(t, patience), "listening")
	if err != nil {
		t.Fatal(err)
	}
	download := start(t, args([]string{"download", tor.path, "-o", dir, "--peer", loopbackAddr(t, listening.TCP)}, alone)...)
	waitExit(t, download, 0)
	tor.check(t, dir)
	const oneFile = 100_003 + 2*16<<10 // and the pieces at its edges
	if done, _ := download.Last("complete"); done.Downloaded > oneFile {
		t.Errorf("%d bytes were downloaded for one file that was missing", done.Downloaded)
	}
}

func hasSome(e cli.Event) bool { return e.Event == "progress" && e.Completed > 0 }
