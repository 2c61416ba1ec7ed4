package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

func TestConfigsThatCannotBe(t *testing.T) {
	for what, cfg := range map[string]Config{
		"no address":        {},
		"a name with a dot": {URL: "nats://127.0.0.1:1", Name: "a..b"},
		"a wildcard":        {URL: "nats://127.0.0.1:1", Name: "a.>"},
		"a node with space": {URL: "nats://127.0.0.1:1", Node: "a b"},
		"a long node":       {URL: "nats://127.0.0.1:1", Node: strings.Repeat("n", maxName+1)},
		"a key too few":     {URL: "nats://127.0.0.1:1", Cert: "cert.pem"},
		"no such CA":        {URL: "nats://127.0.0.1:1", CA: filepath.Join(t.TempDir(), "none.pem")},
	} {
		if c, err := New(cfg); err == nil {
			_ = c.Close()
			t.Errorf("%s: no error", what)
		}
	}
	_, err := New(Config{URL: "nats://user:secret@127.0.0.1:port"})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("an address that is none: %v", err)
	}
}

func TestUserAndPassword(t *testing.T) {
	ns := startNATS(t, natsserver.Options{Username: "tracker", Password: "secret"})
	with := strings.Replace(ns.url(), "nats://", "nats://tracker:secret@", 1)
	together(t, newTestNode(t, with, "a"), newTestNode(t, with, "b"))

	stranger := newTestNode(t, strings.Replace(with, "secret", "wrong", 1), "c")
	eventually(t, func() error {
		if stranger.logs.count("goes on alone") != 1 || stranger.logs.count("uthorization") == 0 {
			return errors.New("not said why it goes on alone")
		}
		return nil
	})
}

// authority makes certificates for 127.0.0.1.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	dir  string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.make("ca", nil)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) make(name string, issuer *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: issuer == nil,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signer := a.key
	if issuer == nil {
		issuer, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + "-key.pem": {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(a.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key
}

func TestTLSBothWays(t *testing.T) {
	a := newAuthority(t)
	a.make("server", a.cert)
	a.make("node", a.cert)
	pair, err := tls.LoadX509KeyPair(a.path("server.pem"), a.path("server-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	ns := startNATS(t, natsserver.Options{TLS: true, TLSVerify: true, TLSTimeout: 20, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}})
	url := strings.Replace(ns.url(), "nats:", "tls:", 1)
	secure := func(c *Config) {
		c.CA, c.Cert, c.Key = a.path("ca.pem"), a.path("node.pem"), a.path("node-key.pem")
	}
	together(t, newTestNode(t, url, "a", secure), newTestNode(t, url, "b", secure))
	stranger := newTestNode(t, url, "c", func(c *Config) { c.CA = a.path("ca.pem") })
	together(t, stranger)
	if stranger.Status().NATS {
		t.Error("connected without a certificate")
	}
}

// made checks the making of something.
func made[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A server whose users are those of an operator's account takes who has the credentials.
func TestCredentialsFile(t *testing.T) {
	key, text := made[nkeys.KeyPair](t), made[string](t)
	operator, account, user := key(nkeys.CreateOperator()), key(nkeys.CreateAccount()), key(nkeys.CreateUser())
	accountClaims := jwt.NewAccountClaims(text(account.PublicKey()))
	userClaims := jwt.NewUserClaims(text(user.PublicKey()))
	accounts := &natsserver.MemAccResolver{}
	if err := accounts.Store(text(account.PublicKey()), text(accountClaims.Encode(operator))); err != nil {
		t.Fatal(err)
	}
	seed := made[[]byte](t)(user.Seed())
	creds := made[[]byte](t)(jwt.FormatUserConfig(text(userClaims.Encode(account)), seed))
	path := filepath.Join(t.TempDir(), "node.creds")
	if err := os.WriteFile(path, creds, 0o600); err != nil {
		t.Fatal(err)
	}
	ns := startNATS(t, natsserver.Options{TrustedKeys: []string{text(operator.PublicKey())}, AccountResolver: accounts})
	with := func(c *Config) { c.Credentials = path }
	together(t, newTestNode(t, ns.url(), "a", with), newTestNode(t, ns.url(), "b", with))
	if newTestNode(t, ns.url(), "c").Status().NATS {
		t.Error("connected without credentials")
	}
}
