package certificate

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// lookInterval is how often, at most, files are looked at for changes.
const lookInterval = time.Second

// Files is a certificate in files. Its methods may be called from any goroutine.
type Files struct {
	certificate, key string
	now              func() time.Time
	log              *slog.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	state  [2]os.FileInfo // of what was loaded, or could not be; nil: not there
	looked time.Time
}

// Load reads a certificate, with the chain behind it, and its key, both PEM. Changes that
// cannot be used are logged (nil: nowhere), and the earlier certificate is kept.
func Load(certificate, key string, log *slog.Logger) (*Files, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &Files{certificate: certificate, key: key, now: time.Now, log: log}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// TLSConfig returns a configuration for servers of HTTP/1.1, WebSocket and TURN.
func (f *Files) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.current(), nil },
	}
}

// Names are the domains that the certificate is for.
func (f *Files) Names() []string { return f.current().Leaf.DNSNames }

// Reload reads the files now. With an error, the earlier certificate is kept.
func (f *Files) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looked = f.now()
	return f.read(f.look())
}

func (f *Files) look() (states [2]os.FileInfo) {
	for i, name := range []string{f.certificate, f.key} {
		if info, err := os.Stat(name); err == nil { // read tells what is wrong with it
			states[i] = info
		}
	}
	return states
}

// unchanged reports whether a file is the same as before. One that is put in its place may be of the
// same size and, by the system's coarse clock, as old.
func unchanged(before, now os.FileInfo) bool {
	if before == nil || now == nil {
		return before == now
	}
	return os.SameFile(before, now) && before.Size() == now.Size() && before.ModTime().Equal(now.ModTime())
}

func (f *Files) read(state [2]os.FileInfo) error {
	f.state = state
	loaded, err := tls.LoadX509KeyPair(f.certificate, f.key)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", f.certificate, f.key, err)
	}
	f.loaded = &loaded
	return nil
}

// current is the certificate as it is in the files now, or was when it could be read last. The
// two files are not written at the same moment, so what does not fit is looked at again.
func (f *Files) current() *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); now.Sub(f.looked) >= lookInterval {
		f.looked = now
		if state := f.look(); !slices.EqualFunc(state[:], f.state[:], unchanged) {
			if err := f.read(state); err != nil {
				f.log.Warn("the TLS certificate has changed, and cannot be used", "error", err)
			}
		}
	}
	return f.loaded
}
