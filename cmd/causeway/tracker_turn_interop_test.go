package main_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/cli"
	"github.com/causeway-bt/causeway/bench/proc"
	"github.com/causeway-bt/causeway/bench/realpeer"
)

// island is a network namespace that is reached only through the middle one, which forwards
// nothing.
type island struct {
	name   string // of the namespace
	router string // the address of the middle one that it reaches
}

// twoIslands makes three network namespaces, of which the outer two reach the middle one
// only, or skips the test where that needs rights that it does not have.
func twoIslands(t *testing.T) (middle string, outer [2]island) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs ip: not with -short")
	}
	id := "cw" + strconv.Itoa(os.Getpid()%100000)
	middle = id + "m"
	ip := func(arguments ...string) {
		t.Helper()
		if out, err := exec.Command("ip", arguments...).CombinedOutput(); err != nil {
			t.Skipf("network namespaces cannot be made here: ip %s: %v: %s", strings.Join(arguments, " "), err, out)
		}
	}
	add := func(name string) {
		t.Helper()
		ip("netns", "add", name)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", name).Run() })
		ip("-n", name, "link", "set", "lo", "up")
	}
	add(middle)
	for i := range outer {
		o := &outer[i]
		o.name, o.router = id+"o"+strconv.Itoa(i), "10.66."+strconv.Itoa(i)+".1"
		own := "10.66." + strconv.Itoa(i) + ".2"
		add(o.name)
		here, there := id+"h"+strconv.Itoa(i), id+"t"+strconv.Itoa(i)
		ip("-n", middle, "link", "add", here, "type", "veth", "peer", "name", there, "netns", o.name)
		ip("-n", middle, "address", "add", o.router+"/24", "dev", here)
		ip("-n", o.name, "address", "add", own+"/24", "dev", there)
		ip("-n", middle, "link", "set", here, "up")
		ip("-n", o.name, "link", "set", there, "up")
		ip("-n", o.name, "route", "add", "default", "via", o.router) // packets to the other one get lost there
	}
	return middle, outer
}

// startIn runs causeway in a network namespace.
func startIn(t *testing.T, namespace string, env []string, arguments ...string) *cli.Run {
	t.Helper()
	return launch(t, proc.Spec{Command: inNamespace(namespace), Args: arguments, Env: args(cli.Isolated, env)})
}

// selfSigned writes a certificate for addresses and names, and its key.
func selfSigned(t *testing.T, subjects ...string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "tracker"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	for _, subject := range subjects {
		if ip := net.ParseIP(subject); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, subject)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

var relayedBytes = regexp.MustCompile(`causeway_turn_relayed_bytes_total ([0-9.e+]+)`)

// TestTorrentThroughTrackersTURN has two peers exchange a torrent that reach nobody but the
// tracker: it introduces them by WebSocket, and relays between them, which it does to no
// other inner address. Either they are told of the relay by the user, or by the tracker.
func TestTorrentThroughTrackersTURN(t *testing.T) {
	const tracker = "8000"
	for _, test := range []struct {
		name, scheme string
		flags        []string
		turn         func(router string) []string
	}{
		{"UDP", "ws", []string{"--turn-user", "u:p"}, func(router string) []string {
			return []string{"--turn", "turn:u:p@" + router + ":" + tracker + "?transport=udp"}
		}},
		{"TCP", "ws", []string{"--turn-user", "u:p"}, func(router string) []string {
			return []string{"--turn", "turn:u:p@" + router + ":" + tracker + "?transport=tcp"}
		}},
		{"TLS", "wss", []string{"--turn-user", "u:p", "--tls-only"}, func(router string) []string {
			return []string{"--turn", "turns:u:p@" + router + ":" + tracker + "?transport=tcp"}
		}},
		{"told by the tracker", "ws", []string{"--turn-open"}, func(string) []string { return nil }},
		{"told by the tracker, TLS", "wss", []string{"--turn-open", "--tls-only"}, func(string) []string { return nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			middle, outer := twoIslands(t)
			tor := single(t, 3<<20)
			var env []string
			flags := append([]string{"tracker", "--port", tracker}, test.flags...)
			if test.scheme == "wss" {
				certificate, key := selfSigned(t, outer[0].router, outer[1].router)
				flags = append(flags, "--tls-cert", certificate, "--tls-key", key)
				env = []string{"SSL_CERT_FILE=" + certificate}
			}
			point := startIn(t, middle, nil, flags...)
			if _, err := point.WaitEvent(within(t, patience), "listening"); err != nil {
				t.Fatal(err)
			}
			run := func(i int, arguments ...string) *cli.Run {
				router := outer[i].router
				return startIn(t, outer[i].name, env, args(arguments, test.turn(router), []string{
					"--port", "0", "--no-dht", "--no-webrtc=false", "--no-web-trackers", "--stun", "stun:" + router + ":" + tracker,
					"--tracker", test.scheme + "://" + router + ":" + tracker + "/announce",
				})...)
			}
			seeder := run(0, "seed", tor.Path, "--data", tor.Dir)
			if _, err := seeder.WaitEvent(within(t, patience), "seeding"); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			finish(t, run(1, "download", tor.Path, "-o", dir), tor, dir)
			if got := relayed(t, middle, test.scheme, tracker); got < 3<<20 {
				t.Errorf("%v bytes went through the relay, want all of the torrent", got)
			}
		})
	}
}

// relayed asks the tracker in a namespace how much it has relayed.
func relayed(t *testing.T, namespace, scheme, port string) float64 {
	t.Helper()
	url := map[string]string{"ws": "http", "wss": "https"}[scheme] + "://127.0.0.1:" + port + "/metrics"
	out, err := exec.Command("ip", "netns", "exec", namespace, "curl", "-sk", "--max-time", "10", url).Output()
	if err != nil {
		t.Fatalf("asking the tracker for its metrics: %v", err)
	}
	found := relayedBytes.FindSubmatch(out)
	if found == nil {
		t.Fatalf("the tracker's metrics say nothing of relaying:\n%s", out)
	}
	n, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTURNForCoturnsClient has coturn's own test client send packets through the tracker.
func TestTURNForCoturnsClient(t *testing.T) {
	realpeer.Need(t, realpeer.Coturn)
	certificate, key := selfSigned(t, realpeer.Host)
	point := start(t, "tracker", "--listen", realpeer.Host, "--port", "0", "--turn-secret", "north", "--turn-user", "bob:builder",
		"--tls-cert", certificate, "--tls-key", key)
	listening, err := point.WaitEvent(within(t, patience), "listening")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listening.TCP)
	if err != nil {
		t.Fatal(err)
	}
	secret, user := []string{"-u", "alice", "-W", "north"}, []string{"-u", "bob", "-w", "builder"}
	for _, test := range []struct {
		name      string
		arguments []string
		ok        bool
	}{
		{"UDP, channels", secret, true},
		{"UDP, indications", args(secret, []string{"-s"}), true},
		{"TCP, channels", args(secret, []string{"-t"}), true},
		{"TCP, indications", args(user, []string{"-t", "-s"}), true},
		{"TLS, channels", args(user, []string{"-t", "-S"}), true},
		{"another secret", []string{"-u", "alice", "-W", "south"}, false},
		{"another password", []string{"-u", "bob", "-w", "north"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			arguments := args([]string{"-c", "-y", "-n", "20", "-m", "2", "-z", "5", "-p", port}, test.arguments, []string{realpeer.Host})
			out, err := exec.CommandContext(within(t, patience), "turnutils_uclient", arguments...).CombinedOutput()
			if ok := err == nil && strings.Contains(string(out), "Total lost packets 0 "); ok != test.ok {
				t.Errorf("it went well: %v, want %v: %v\n%s", ok, test.ok, err, out)
			}
		})
	}
}

// TestPagesThroughTrackersTURN has pages that may use nothing but the relay download from a
// program that is introduced by the same tracker.
func TestPagesThroughTrackersTURN(t *testing.T) {
	for _, browser := range []realpeer.Program{realpeer.Chromium, realpeer.Firefox} {
		t.Run(string(browser), func(t *testing.T) {
			realpeer.Need(t, browser, realpeer.WebTorrent)
			// The page's relay sends to the program, which is on this machine.
			point := start(t, "tracker", "--listen", realpeer.Host, "--port", "0", "--turn-user", "causeway:secret", "--turn-allow-private")
			listening, err := point.WaitEvent(within(t, patience), "listening")
			if err != nil {
				t.Fatal(err)
			}
			tor, url := single(t, 2<<20), "ws://"+listening.TCP+"/announce"
			seeder := start(t, args([]string{"seed", tor.Path, "--data", tor.Dir, "--no-tcp", "--no-utp", "--no-webrtc=false", "--stun", "stun:" + listening.UDP, "--tracker", url, "--no-web-trackers"}, base, []string{"--no-dht"})...)
			if _, err := seeder.WaitEvent(within(t, patience), "seeding"); err != nil {
				t.Fatal(err)
			}
			pageHas(t, realpeer.StartBrowser(t, realpeer.BrowserOptions{
				Browser: browser, Torrent: tor.Path, Trackers: []string{url}, ShowAddresses: true,
				Relay: &realpeer.TURN{Addr: listening.UDP, User: "causeway", Password: "secret"},
			}), 0, tor)
		})
	}
}
