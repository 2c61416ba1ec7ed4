package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
)

// shareCertificates is where the TLS of a share comes from: what the tracker command has for
// that.
type shareCertificates struct{ run trackerRun }

// load returns nil without TLS.
func (c *shareCertificates) load(a *app, f *tlsFlags, listener net.Listener) (*tls.Config, error) {
	c.run = trackerRun{app: a, flags: &trackerFlags{tls: *f}, sockets: trackerSockets{http: listener}}
	return c.run.certificates()
}

// names are those that the certificates are for and by which others may come.
func (c *shareCertificates) names() (names []string) {
	if c.run.files == nil {
		return c.run.flags.tls.acme
	}
	for _, name := range c.run.files.Names() {
		if name != "localhost" && !strings.HasPrefix(name, "*") {
			names = append(names, name)
		}
	}
	return names
}

// reload has files read again on SIGHUP, until ctx ends.
func (c *shareCertificates) reload(ctx context.Context) {
	if c.run.files == nil {
		return
	}
	hangups := make(chan os.Signal, 1)
	defer c.run.app.onHangup(hangups)()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			if err := c.run.files.Reload(); err != nil {
				c.run.app.warn("", fmt.Sprintf("the certificate was not read again; what was there before stays: %v", err))
			}
		}
	}
}

func (c *shareCertificates) close() {
	if c.run.acme != nil {
		c.run.acme.Close()
	}
}
