package main

import (
	"crypto/tls"

	"github.com/causeway-bt/causeway/tracker/server/certificate"
)

func (f *tlsFlags) check() error { return nil }

func (f *tlsFlags) names() []string { return nil }

// certificates are what keeps them up to date.
type certificates struct{}

func (c *certificates) close() {}

func (t *trackerSide) certificates(f *tlsFlags) (*tls.Config, error) {
	if f.cert == "" {
		return nil, nil
	}
	files, err := certificate.Load(f.cert, f.key, nil)
	if err != nil {
		return nil, usagef("%v", err)
	}
	return files.TLSConfig(), nil
}
