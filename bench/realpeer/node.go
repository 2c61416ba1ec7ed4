package realpeer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// node runs scripts; it has to be new enough for webtorrent.
const node = "node"

// nodeDir returns the folder of the scripts and of what npm installed beside them:
// Node resolves packages from where a script lies, so they cannot be embedded.
func nodeDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		scripts := filepath.Join(dir, "bench", "realpeer", "node")
		if _, err := os.Stat(filepath.Join(scripts, "package.json")); err == nil {
			return scripts, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no bench/realpeer/node in this folder or one above: run inside the source tree")
		}
		dir = parent
	}
}

// nodeAvailable returns nil if Node and the packages are installed.
func nodeAvailable() error {
	if _, err := exec.LookPath(node); err != nil {
		return fmt.Errorf("node is missing (Debian: nodejs): %w", err)
	}
	dir, err := nodeDir()
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(dir, "node_modules", "webtorrent"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("webtorrent is missing (npm packages of bench/realpeer/node; make test-deps): %w", err)
	}
	return err
}

// script returns the path of one of the scripts.
func script(name string) (string, error) {
	dir, err := nodeDir()
	return filepath.Join(dir, name), err
}

// webSocketURL is the announce URL of a tracker on loopback.
func webSocketURL(port int) string {
	return strings.Join([]string{"ws://", loopback, ":", fmt.Sprint(port)}, "")
}
