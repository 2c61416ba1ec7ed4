package server

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// lists are the infohashes that may and may not be tracked.
type lists struct {
	mu          sync.Mutex // read
	allow, deny list
}

// list is one file of infohashes.
type list struct {
	path   string
	hashes atomic.Pointer[map[table.Hash]struct{}] // nil: there is no list

	modified time.Time // of the file, as it was read
	size     int64
}

func (l *lists) check(h *table.Hash) error {
	if allow := l.allow.hashes.Load(); allow != nil {
		if _, is := (*allow)[*h]; !is {
			return errNotAllowed
		}
	}
	if deny := l.deny.hashes.Load(); deny != nil {
		if _, is := (*deny)[*h]; is {
			return errDenied
		}
	}
	return nil
}

// read reads the lists' files: all of them, or those that have changed.
func (l *lists) read(all bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.allow.read(all), l.deny.read(all))
}

// listBytes bounds the size of a list: ten million infohashes.
const listBytes = 41 * 10_000_000

func (l *list) read(always bool) error {
	if l.path == "" {
		return nil
	}
	f, err := os.Open(l.path)
	if err != nil {
		return fmt.Errorf("access list: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("access list: %w", err)
	}
	if !always && info.ModTime().Equal(l.modified) && info.Size() == l.size {
		return nil
	}
	// Even if it cannot be parsed it is not worth another look before it changes.
	l.modified, l.size = info.ModTime(), info.Size()
	if info.Size() > listBytes {
		return fmt.Errorf("access list %s: %d bytes; at most %d are read", l.path, info.Size(), listBytes)
	}
	hashes, err := parseList(io.LimitReader(f, listBytes))
	if err != nil {
		return fmt.Errorf("access list %s: %w", l.path, err)
	}
	l.hashes.Store(&hashes)
	return nil
}

// parseList reads infohashes, one a line, each followed by nothing or a blank and
// a comment. Empty lines and lines that begin with # are passed over.
func parseList(r io.Reader) (map[table.Hash]struct{}, error) {
	hashes := make(map[table.Hash]struct{})
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		word := line
		if i := bytes.IndexAny(line, " \t"); i >= 0 {
			word = line[:i]
		}
		var h table.Hash
		if len(word) != 2*len(h) {
			return nil, fmt.Errorf("line %d: want 40 hexadecimal digits, got %.60q", n, word)
		}
		if _, err := hex.Decode(h[:], word); err != nil {
			return nil, fmt.Errorf("line %d: want 40 hexadecimal digits, got %q", n, word)
		}
		hashes[h] = struct{}{}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("a line that is too long: %w", err)
	}
	return hashes, nil
}
