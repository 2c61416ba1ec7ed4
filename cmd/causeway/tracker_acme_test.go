package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// certificateAuthority is Let's Encrypt's own test server, which looks for challenges at a
// port of loopback, whatever the name.
type certificateAuthority struct {
	*httptest.Server
	memory *db.MemoryStore
	roots  *x509.CertPool // of what it issues
	trust  []string       // environment of those who are to trust the server itself
}

const shortLivedProfile, shortLife = "shortlived", 6 * 24 * time.Hour

// startAuthority runs an authority that certifies addresses by one profile only, as Let's
// Encrypt does.
func startAuthority(t *testing.T, challengePort string) *certificateAuthority {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	challenge, err := strconv.Atoi(challengePort)
	if err != nil {
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0)
	a := &certificateAuthority{memory: db.NewMemoryStore(), roots: x509.NewCertPool()}
	issuer := ca.New(quiet, a.memory, "", "ecdsa", 0, 1, map[string]ca.Profile{
		"default":         {Description: "90 days", ValidityPeriod: uint64((90 * 24 * time.Hour).Seconds())},
		shortLivedProfile: {Description: "6 days", ValidityPeriod: uint64(shortLife.Seconds())},
	})
	validator := va.New(quiet, 1, challenge, false, loopbackDNS(t), a.memory)
	front := wfe.New(quiet, a.memory, validator, issuer, []string{"causeway.test"}, false, false, 1, 1)
	a.Server = httptest.NewTLSServer(front.Handler())
	t.Cleanup(a.Server.Close)
	a.roots.AddCert(issuer.GetRootCert(0).Cert)
	file := filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	a.trust = []string{"SSL_CERT_FILE=" + file}
	return a
}

// loopbackDNS answers that every name is at loopback.
func loopbackDNS(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: listener, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg).SetReply(question)
		if q := question.Question[0]; q.Qtype == dns.TypeA {
			answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(answer)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.ActivateAndServe()
	}()
	t.Cleanup(func() {
		listener.Close()
		<-ended
	})
	return listener.Addr().String()
}

// TestTrackerACME has a tracker get its certificate by itself: for a name, and for a bare
// address. The challenge is answered on the tracker's own port.
func TestTrackerACME(t *testing.T) {
	for _, test := range []struct {
		subject, serverName string
		atMost              time.Duration
	}{
		{"tracker.example", "tracker.example", 91 * 24 * time.Hour},
		{"127.0.0.1", "127.0.0.1", shortLife + time.Hour},
	} {
		t.Run(test.subject, func(t *testing.T) {
			port := freePort(t)
			authority := startAuthority(t, port)
			folder := t.TempDir()
			flags := []string{
				"--port", port, "--acme", test.subject, "--acme-ca", authority.URL + wfe.DirectoryPath,
				"--acme-folder", folder, "--acme-tls-port", port,
			}
			tracker := runTracker(t, authority.trust, flags...)
			first := trustedCertificate(t, tracker.tcp, test.serverName, authority.roots)
			if life := first.NotAfter.Sub(first.NotBefore); life > test.atMost {
				t.Errorf("the certificate is for %v, want at most %v", life, test.atMost)
			}
			tracker.signal(t, os.Interrupt)
			tracker.ends(t, exitInterrupted)

			// The next run has it already.
			authority.Close()
			again := trustedCertificate(t, runTracker(t, authority.trust, flags...).tcp, test.serverName, authority.roots)
			if !again.Equal(first) {
				t.Error("the next run has another certificate")
			}
		})
	}
}

// trustedCertificate waits until a server has a certificate of an authority, for a name.
func trustedCertificate(t *testing.T, address, name string, roots *x509.CertPool) *x509.Certificate {
	t.Helper()
	var last error
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: name})
		if err != nil {
			last = err
			continue
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0]
	}
	t.Fatalf("no certificate that is trusted: %v", last)
	return nil
}
