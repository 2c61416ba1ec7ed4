package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/caddyserver/certmagic"
)

// shortLived is the profile by which Let's Encrypt certifies bare IP addresses, for six days
// (letsencrypt.org/docs/profiles, draft-aaron-acme-profiles).
const shortLived = "shortlived"

// ACMEConfig says what is to be certified, by whom.
type ACMEConfig struct {
	// Subjects are names and IP addresses of this machine. With an address among them, all
	// certificates are short-lived.
	Subjects []string
	// CA is the URL of a certificate authority's directory; empty: Let's Encrypt.
	CA string
	// Email is where the authority may write to. It may be empty.
	Email string
	// Folder keeps the account and the certificates.
	Folder string

	// The authority looks for its challenge at port 443 (TLS-ALPN-01) or 80 (HTTP-01) of each
	// subject. TLSPort and HTTPPort are what these lead to here; 0: the same. Where nobody
	// listens, certmagic does while it must.
	TLSPort, HTTPPort int
	// ServesTLS says that TLSPort is served with TLSConfig: HTTP-01 is not needed.
	ServesTLS bool

	Logger *slog.Logger // hears what is done; nil: silence
}

// ACME has certificates made and renewed, until Close.
type ACME struct {
	magic  *certmagic.Config
	cache  *certmagic.Cache
	cancel context.CancelFunc
}

// Manage has certificates made, in the background, unless Folder has them, and renewed.
// What goes wrong is logged, and tried again.
func Manage(config ACMEConfig) (*ACME, error) {
	if len(config.Subjects) == 0 {
		return nil, errors.New("ACME: there is no name and no address to be certified")
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	log := zapLogger(config.Logger)
	a := &ACME{}
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		Logger:           log,
	})
	a.magic = certmagic.New(a.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: config.Folder}, Logger: log,
		DefaultServerName: config.Subjects[0], // whoever dials an address names no server
	})
	issuer := certmagic.ACMEIssuer{
		CA: config.CA, Email: config.Email, Agreed: true, Logger: log,
		AltTLSALPNPort: config.TLSPort, AltHTTPPort: config.HTTPPort, DisableHTTPChallenge: config.ServesTLS,
	}
	for _, subject := range config.Subjects {
		if _, err := netip.ParseAddr(subject); err == nil {
			issuer.Profile = shortLived
		}
	}
	a.magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(a.magic, issuer)}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	if err := a.magic.ManageAsync(ctx, config.Subjects); err != nil {
		a.Close()
		return nil, fmt.Errorf("ACME: %w", err)
	}
	return a, nil
}

// TLSConfig returns a configuration for servers of HTTP/1.1, WebSocket and TURN, which
// answers the authority's TLS-ALPN-01 challenges, too.
func (a *ACME) TLSConfig() *tls.Config {
	config := a.magic.TLSConfig()
	config.MinVersion = tls.VersionTLS12
	config.NextProtos = append([]string{"http/1.1"}, config.NextProtos...)
	return config
}

// Close ends the renewing.
func (a *ACME) Close() {
	a.cancel()
	a.cache.Stop()
}
