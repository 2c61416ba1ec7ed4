package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// announceHTTP announces a torrent by HTTP, and returns what the tracker says.
func announceHTTP(t *testing.T, client *http.Client, announce string, infoHash byte) string {
	t.Helper()
	query := url.Values{
		"info_hash": {strings.Repeat(string(rune(infoHash)), 20)}, "peer_id": {"-XX0000-abcdefghijkl"},
		"port": {"6881"}, "uploaded": {"0"}, "downloaded": {"0"}, "left": {"1"}, "compact": {"1"},
	}
	answer, err := client.Get(announce + "?" + query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return readAll(t, answer.Body)
}

// binding asks for our address by STUN over a connection.
func binding(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	request := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	if _, err := conn.Write(request.Raw); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 200)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	answer := &stun.Message{Raw: b[:n]}
	var mapped stun.XORMappedAddress
	if err := answer.Decode(); err != nil {
		t.Fatal(err)
	}
	if err := mapped.GetFrom(answer); err != nil || mapped.String() != conn.LocalAddr().String() {
		t.Errorf("our address is %v, not %v (%v)", conn.LocalAddr(), mapped, err)
	}
}

// TestTrackerOnOnePort finds everything at one number.
func TestTrackerOnOnePort(t *testing.T) {
	tracker := runTracker(t, nil, "--turn-secret", "north")
	if tracker.tcp != tracker.udp {
		t.Errorf("TCP at %s, UDP at %s", tracker.tcp, tracker.udp)
	}
	at := tracker.tcp
	if want := []string{"http://" + at + "/announce", "udp://" + at + "/announce", "ws://" + at + "/announce"}; !slices.Equal(tracker.announce, want) {
		t.Errorf("announce URLs %v, want %v", tracker.announce, want)
	}
	if want := []string{"stun:" + at, "turn:" + at + "?transport=udp", "turn:" + at + "?transport=tcp"}; !slices.Equal(tracker.ice, want) {
		t.Errorf("ICE servers %v, want %v", tracker.ice, want)
	}
	if got := announceHTTP(t, http.DefaultClient, tracker.announce[0], 'a'); !strings.Contains(got, "8:intervali") {
		t.Errorf("announced by HTTP: %q", got)
	}
	udp, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	binding(t, udp)
	if _, err := udp.Write([]byte("\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00abcd")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := udp.Read(b); err != nil || n != 16 || string(b[:8]) != "\x00\x00\x00\x00abcd" {
		t.Errorf("connect by UDP: %q, %v", b[:n], err)
	}
	tcp, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	binding(t, tcp)
}

// TestTrackerStops ends by each signal, with its port free for the next.
func TestTrackerStops(t *testing.T) {
	port := freePort(t)
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		tracker := runTracker(t, nil, "--port", port)
		announceHTTP(t, http.DefaultClient, tracker.announce[0], 'a') // and stays connected
		idle, err := net.Dial("tcp", tracker.tcp)
		if err != nil {
			t.Fatal(err)
		}
		defer idle.Close()
		tracker.signal(t, signal)
		begun := time.Now()
		tracker.ends(t, exitInterrupted)
		if took := time.Since(begun); took > answersWithin {
			t.Errorf("it took %v to end, though nothing was asked", took)
		}
	}
}

// TestTrackerReloads changes the files of a tracker that runs.
func TestTrackerReloads(t *testing.T) {
	dir := t.TempDir()
	deny, cert, key := filepath.Join(dir, "deny"), filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	if err := os.WriteFile(deny, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first := writeCertificate(t, cert, key)
	tracker := runTracker(t, nil, "--deny", deny, "--tls-cert", cert, "--tls-key", key)
	if want := "https://" + tracker.tcp + "/announce"; tracker.announce[0] != want {
		t.Errorf("announce at %s, want %s", tracker.announce[0], want)
	}
	served := func(root *x509.Certificate) (string, error) {
		roots := x509.NewCertPool()
		roots.AddCert(root)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		if _, err := client.Get("https://" + tracker.tcp + "/healthz"); err != nil {
			return "", err
		}
		return announceHTTP(t, client, tracker.announce[0], 'a'), nil
	}
	if got, err := served(first); err != nil || !strings.Contains(got, "8:intervali") {
		t.Errorf("announced: %q, %v", got, err)
	}
	second := writeCertificate(t, cert, key)
	if err := os.WriteFile(deny, []byte(strings.Repeat("61", 20)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tracker.signal(t, syscall.SIGHUP)
	next(t, tracker.lines, "reloaded")
	if got, err := served(second); err != nil || !strings.Contains(got, "failure reason") {
		t.Errorf("announced after that: %q, %v", got, err)
	}
	// What cannot be read changes nothing.
	if err := os.WriteFile(cert, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	tracker.signal(t, syscall.SIGHUP)
	if w := next(t, tracker.lines, "warning"); !strings.Contains(fmt.Sprint(w["message"]), cert) {
		t.Errorf("warning %v", w)
	}
	if _, err := served(second); err != nil {
		t.Errorf("after a certificate that cannot be read: %v", err)
	}
	tracker.signal(t, os.Interrupt)
	tracker.ends(t, exitInterrupted)
}

// TestTrackerCertificateChanges replaces a certificate without a signal.
func TestTrackerCertificateChanges(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	writeCertificate(t, cert, key)
	tracker := runTracker(t, nil, "--tls-cert", cert, "--tls-key", key, "--tls-only")
	roots := x509.NewCertPool()
	roots.AddCert(writeCertificate(t, cert, key))
	trustedCertificate(t, tracker.tcp, "127.0.0.1", roots)
	if answer, err := http.Get("http://" + tracker.tcp + "/healthz"); err == nil {
		t.Errorf("without TLS: %q", readAll(t, answer.Body))
	}
}

// writeCertificate writes a new certificate for loopback, and its key.
func writeCertificate(t *testing.T, certFile, keyFile string) *x509.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// TestTrackerTURNUsers relays for those who have credentials, with the bounds of the flags.
func TestTrackerTURNUsers(t *testing.T) {
	tracker := runTracker(t, nil, "--turn-user", "alice:wonder", "--turn-user-allocations", "1", "--turn-ports", "50200-50203")
	allocate := func(user, password string) (net.PacketConn, error) {
		t.Helper()
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		client, err := turn.NewClient(&turn.ClientConfig{
			Conn: conn, STUNServerAddr: tracker.udp, TURNServerAddr: tracker.udp, Username: user, Password: password,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		if err := client.Listen(); err != nil {
			t.Fatal(err)
		}
		return client.Allocate()
	}
	if _, err := allocate("alice", "underland"); err == nil {
		t.Error("a wrong password is as good as the right one")
	}
	conn, err := allocate("alice", "wonder")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if port := conn.LocalAddr().(*net.UDPAddr).Port; port < 50200 || port > 50203 {
		t.Errorf("relayed at port %d", port)
	}
	if _, err := allocate("alice", "wonder"); err == nil || !strings.Contains(err.Error(), "486") {
		t.Errorf("a second relay of a user who may have one: %v", err)
	}
}

// TestTrackerAccessLog has announces told as events.
func TestTrackerAccessLog(t *testing.T) {
	tracker := runTracker(t, nil, "--access-log")
	announceHTTP(t, http.DefaultClient, tracker.announce[0], 'b')
	if e := next(t, tracker.lines, "announce"); e["info_hash"] != strings.Repeat("62", 20) || e["front"] != "http" || e["peer_event"] == nil || e["time"] == nil {
		t.Errorf("announce %v", e)
	}
}

func TestTrackerUsage(t *testing.T) {
	for _, test := range []struct{ flags, message string }{
		{"--port 70000", "--port"},
		{"--http nowhere", "--http needs HOST:PORT"},
		{"--tls-cert go.mod", "--tls-cert"},
		{"--tls-only", "--tls-only needs a certificate"},
		{"--acme *.example", "--acme needs"},
		{"--acme-email a@b.example", "need --acme"},
		{"--turn-user alice", "USER:PASSWORD"},
		{"--turn-ports 5-1", "--turn-ports needs a range"},
		{"--turn-rate 0", "--turn-rate"},
		{"--turn-allocations 0", "--turn-allocations must be at least 1"},
		{"--interval 1ms", "--interval must be at least a second"},
		{"--trust-proxy 10.0.0.0", "--trust-proxy needs a network"},
		{"--deny nowhere", "--deny"},
		{"something", "needs no argument"},
	} {
		r := causeway(t, t.TempDir(), append([]string{"tracker"}, strings.Fields(test.flags)...)...).want(t, exitUsage)
		if !strings.Contains(r.stderr, test.message) {
			t.Errorf("%s: %q", test.flags, r.stderr)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := causeway(t, t.TempDir(), "tracker", "--http", taken.Addr().String()).want(t, exitFailed)
	if !strings.Contains(r.stderr, "cannot listen") {
		t.Errorf("a port that is taken: %q", r.stderr)
	}
}
