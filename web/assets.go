package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
)

// built holds what build.mjs makes, compressed, or nothing but a placeholder.
//
//go:embed all:dist
var built embed.FS

//go:embed src
var sources embed.FS

const (
	builtFolder  = "dist"
	sourceFolder = "src"
	// mainScript tells whether the page was built.
	mainScript = "app.js"
	packed     = ".gz"
)

// assets are the files of the page, gzip-compressed, by name.
type assets struct {
	built  bool
	packed map[string][]byte
	hash   string // of them all: names the folder that they are served from
}

var loadAssets = sync.OnceValue(func() assets {
	if a := readAssets(built, builtFolder, true); a.packed[mainScript] != nil {
		return a
	}
	return readAssets(sources, sourceFolder, false)
})

// Built reports whether the bundled page is in this program, rather than its sources,
// which play over plain HTTP only.
func Built() bool { return loadAssets().built }

// StyleSheet is the CSS that Causeway's pages have in common.
func StyleSheet() []byte {
	sheet, err := sources.ReadFile(sourceFolder + "/base.css")
	if err != nil {
		panic(err) // it is embedded
	}
	return sheet
}

// readAssets takes the files of a folder: those that are compressed already, or else all
// of them.
func readAssets(from fs.FS, folder string, arePacked bool) assets {
	a := assets{built: arePacked, packed: map[string][]byte{}}
	entries, err := fs.ReadDir(from, folder)
	if err != nil {
		panic(err) // it is embedded
	}
	sum := sha256.New()
	for _, e := range entries {
		name, isPacked := strings.CutSuffix(e.Name(), packed)
		if isPacked != arePacked {
			continue
		}
		content, err := fs.ReadFile(from, path.Join(folder, e.Name()))
		if err != nil {
			panic(err)
		}
		if !arePacked {
			content = compress(content)
		}
		a.packed[name] = content
		_, _ = io.WriteString(sum, name)
		_, _ = sum.Write(content)
	}
	const shownBytes = 8
	a.hash = hex.EncodeToString(sum.Sum(nil)[:shownBytes])
	return a
}

func compress(content []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // of a buffer
	}
	return b.Bytes()
}

func decompress(content []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
