package main

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/client/meta"
)

// TestStreamIsAWebSeed: aria2 downloads torrents of which it knows nothing but the URL of
// a stream, as a web seed (BEP 19), while the stream itself is still downloading.
func TestStreamIsAWebSeed(t *testing.T) {
	programPath(t, "aria2c")
	folder, _ := filmFolder(t)
	file := t.TempDir()
	data := make([]byte, 600_000)
	rand.Read(data)
	if err := os.WriteFile(filepath.Join(file, "100% naïve #1.mkv"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, root, content string }{
		{"folder", folder, "Films"},
		{"file", file, "100% naïve #1.mkv"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			content := filepath.Join(test.root, test.content)
			s := arriving(t, content, 3)
			serving := s.event(t, "serving")
			url, hash := serving["url"].(string), serving["infohash"].(string)
			if test.name == "folder" { // to whose URL its name and the files' are appended
				before, _, _ := strings.Cut(url, hash)
				url = before + hash + "/"
			}
			encoded, err := meta.Create(t.Context(), content, meta.CreateOptions{WebSeeds: []string{url}})
			if err != nil {
				t.Fatal(err)
			}
			torrent, out := filepath.Join(t.TempDir(), "web.torrent"), t.TempDir()
			if err := os.WriteFile(torrent, encoded, 0o644); err != nil {
				t.Fatal(err)
			}
			runProgram(t, "aria2c", "--no-conf", "--dir="+out, "--file-allocation=none", "--seed-time=0",
				"--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false", torrent)
			sameFolder(t, content, filepath.Join(out, test.content))
		})
	}
}
