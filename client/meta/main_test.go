package meta

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/anacrolix/torrent/bencode"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dict and list are bencoded with sorted keys by encode.
type (
	dict = map[string]any
	list = []any
)

func encode(t testing.TB, value any) []byte {
	t.Helper()
	b, err := bencode.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// infoOf encodes the info dictionary of a torrent with pieces of 16 KiB, changed
// as the caller says; nil removes a key.
func infoOf(t testing.TB, length int64, changes dict) []byte {
	t.Helper()
	info := dict{
		"name": "n", "piece length": 16384, "length": length,
		"pieces": string(make([]byte, (length+16383)/16384*hashSize)),
	}
	for key, value := range changes {
		if info[key] = value; value == nil {
			delete(info, key)
		}
	}
	return encode(t, info)
}

// filesOf is the info dictionary of a folder with one byte in each file.
func filesOf(t testing.TB, paths ...[]string) []byte {
	t.Helper()
	files := list{}
	for _, path := range paths {
		files = append(files, dict{"length": 1, "path": path})
	}
	return infoOf(t, int64(len(paths)), dict{"length": nil, "files": files})
}

// writeBandDemo writes the data of the torrents in testdata and returns the
// folder that holds it.
func writeBandDemo(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for _, file := range []struct {
		path         string
		length, seed int
	}{
		{"track 1.ogg", 50000, 1},
		{"track 2.ogg", 16384, 2},
		{"track 10.ogg", 70001, 3},
		{"extras/cover ü.png", 1234, 4},
		{"extras/empty.nfo", 0, 5},
	} {
		writeFile(t, filepath.Join(root, "Band Demo", file.path), noise(file.length, file.seed))
	}
	return root
}

// noise returns bytes that depend on seed.
func noise(length, seed int) []byte {
	b := make([]byte, length)
	for i := range b {
		seed = (seed*1103515245 + 12345) & 0x7fffffff
		b[i] = byte(seed >> 16)
	}
	return b
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
