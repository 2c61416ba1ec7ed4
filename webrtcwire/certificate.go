package webrtcwire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
)

const (
	// certificateLife is how long a DTLS certificate is good, as in browsers.
	certificateLife = 30 * 24 * time.Hour

	// certificateMargin is how long before its end it is replaced.
	certificateMargin = 24 * time.Hour
)

// certificate is the process's DTLS certificate: only its fingerprint, in the descriptions, says
// who we are (RFC 8122).
type certificate struct {
	tls         tls.Certificate
	fingerprint string // of SHA-256
	expires     time.Time
}

func newCertificate() (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a DTLS key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a DTLS certificate: %w", err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "WebRTC"}, SerialNumber: serial,
		NotBefore: time.Now().Add(-certificateMargin), NotAfter: time.Now().Add(certificateLife),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a DTLS certificate: %w", err)
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("make a DTLS certificate: %w", err)
	}
	print, err := fingerprint.Fingerprint(parsed, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("make a DTLS certificate: %w", err)
	}
	return &certificate{
		tls:         tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: parsed},
		fingerprint: strings.ToUpper(print), expires: parsed.NotAfter,
	}, nil
}

func (t *Transport) currentCertificate() (*certificate, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.certificate == nil || time.Until(t.certificate.expires) < certificateMargin {
		made, err := newCertificate()
		if err != nil {
			return nil, err
		}
		t.certificate = made
	}
	return t.certificate, nil
}

var errFingerprint = errors.New("the peer's certificate is not the one of its description")

// matches reports whether a certificate has one of a description's fingerprints.
func matches(raw []byte, fingerprints []string) error {
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		return err
	}
	for _, want := range fingerprints {
		name, value, _ := strings.Cut(want, " ")
		algorithm, err := fingerprint.HashFromString(name)
		if err != nil {
			continue
		}
		if got, err := fingerprint.Fingerprint(parsed, algorithm); err == nil && strings.EqualFold(got, value) {
			return nil
		}
	}
	return errFingerprint
}
