package share

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Memory is what is remembered of a share, so that the same files have the same link when
// they are shared again.
type Memory struct {
	Port     int    `json:"port"`      // TCP, of the link
	PeerPort int    `json:"peer_port"` // UDP and TCP, for peers
	Key      []byte `json:"key"`       // Config.Key
	path     string
}

const keyLength = 32

// Remember reads what a folder has of the share of these things (absolute paths, infohashes);
// with no folder, or no earlier share, it is new.
func Remember(folder string, things []string) (*Memory, error) {
	m := &Memory{Key: make([]byte, keyLength)}
	_, _ = rand.Read(m.Key) // never fails
	if folder == "" {
		return m, nil
	}
	const nameLength = 16 // bytes of the hash
	sum := sha256.Sum256([]byte(strings.Join(things, "\x00")))
	path := filepath.Join(folder, "shares", hex.EncodeToString(sum[:nameLength])+".json")
	m.path = path
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what is remembered of this share: %w", err)
	}
	var old Memory
	// What is damaged is as good as forgotten.
	if json.Unmarshal(text, &old) == nil && len(old.Key) == keyLength && isPort(old.Port) && isPort(old.PeerPort) {
		old.path = path
		return &old, nil
	}
	return m, nil
}

func isPort(n int) bool { return n >= 0 && n <= 65535 }

// Save writes it, whole or not at all.
func (m *Memory) Save() error {
	if m.path == "" {
		return nil
	}
	if err := m.save(); err != nil {
		return fmt.Errorf("remembering this share: %w", err)
	}
	return nil
}

func (m *Memory) save() error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.path), 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(m.path), ".share-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if _, err = temp.Write(text); err == nil {
		err = temp.Sync()
	}
	if err := errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), m.path)
}
