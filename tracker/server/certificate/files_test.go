package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair writes a new certificate and its key.
func pair(t *testing.T, certFile, keyFile string) []byte {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"tracker.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return der
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	if _, err := Load(cert, key, nil); err == nil || !strings.Contains(err.Error(), cert) {
		t.Errorf("without files: %v", err)
	}
	first := pair(t, cert, key)
	var log bytes.Buffer
	files, err := Load(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	files.now = func() time.Time { return now }
	serves := func(want []byte) bool {
		t.Helper()
		got, err := files.TLSConfig().GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Equal(got.Certificate[0], want)
	}
	if !serves(first) {
		t.Error("the certificate is not served")
	}
	second := pair(t, cert, key)
	now = now.Add(lookInterval)
	if !serves(second) {
		t.Error("the new certificate is not served after a while")
	}
	// Half of a change, as when a program is about to write the other file.
	third := pair(t, cert, filepath.Join(dir, "other"))
	now = now.Add(lookInterval)
	if !serves(second) || !strings.Contains(log.String(), "cannot be used") {
		t.Errorf("with the key of another certificate; logged %q", log.String())
	}
	logged := log.Len()
	now = now.Add(lookInterval)
	if !serves(second) || log.Len() != logged {
		t.Error("the same change is logged again")
	}
	if err := files.Reload(); err == nil {
		t.Error("Reload says nothing of it")
	}
	if err := os.Rename(filepath.Join(dir, "other"), key); err != nil {
		t.Fatal(err)
	}
	now = now.Add(lookInterval)
	if !serves(third) {
		t.Error("the whole change is not served")
	}
}

// TestReplacedFileIsAnother, even if it is of the same size and as old.
func TestReplacedFileIsAnother(t *testing.T) {
	dir := t.TempDir()
	name, other := filepath.Join(dir, "key"), filepath.Join(dir, "other")
	at := time.Now()
	look := func(file string) os.FileInfo {
		t.Helper()
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	for _, file := range []string{name, other} {
		if err := errors.Join(os.WriteFile(file, []byte("1234"), 0o600), os.Chtimes(file, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	before := look(name)
	if !unchanged(before, look(name)) || !unchanged(nil, nil) || unchanged(before, nil) || unchanged(nil, before) {
		t.Error("what has not changed, or has gone, or has come, is not told from each other")
	}
	if err := os.Rename(other, name); err != nil {
		t.Fatal(err)
	}
	if unchanged(before, look(name)) {
		t.Error("a file that was put in its place is taken for it")
	}
}
