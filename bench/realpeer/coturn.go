package realpeer

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/causeway-bt/causeway/bench/proc"
)

// TURN is a running coturn, with one user.
type TURN struct {
	*proc.Process
	Addr           string // HOST:PORT, for UDP and TCP
	User, Password string
}

// URL is what causeway's --turn takes.
func (s *TURN) URL() string { return "turn:" + s.User + ":" + s.Password + "@" + s.Addr }

// StartTURN runs coturn for a test; it relays between loopback addresses only. It has no TLS nor DTLS
// unless flags of its own say so.
func StartTURN(t testing.TB, flags ...string) *TURN {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	if len(flags) == 0 {
		flags = []string{"--no-tls", "--no-dtls"}
	}
	s := &TURN{Addr: net.JoinHostPort(loopback, strconv.Itoa(port)), User: "causeway", Password: "secret"}
	s.Process = startCoturn(t, nil, append(flags[:len(flags):len(flags)],
		"--listening-ip="+loopback, "--relay-ip="+loopback, "--listening-port="+strconv.Itoa(port), "--allow-loopback-peers",
		"--lt-cred-mech", "--user="+s.User+":"+s.Password, "--realm=causeway.test")...)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := poll(ctx, s.Process, "coturn to listen", func() bool { return accepts(loopback, port) }); err != nil {
		t.Fatal(err)
	}
	return s
}

// StartSTUN runs coturn for a test as a STUN server at port 3478 of some addresses, and 3479,
// by which two of them tell the kind of a NAT (RFC 5780). The command is put before its own, as
// `ip netns exec NAME`. It answers soon.
func StartSTUN(t testing.TB, command []string, ips ...netip.Addr) {
	t.Helper()
	flags := []string{"--listening-port=3478", "--no-tls", "--no-dtls", "--no-auth", "--stun-only"}
	for _, ip := range ips {
		flags = append(flags, "--listening-ip="+ip.String())
	}
	startCoturn(t, command, flags...)
}

func startCoturn(t testing.TB, command []string, flags ...string) *proc.Process {
	t.Helper()
	Need(t, Coturn)
	dir := t.TempDir()
	process, err := proc.Start(proc.Spec{
		Command: command, Path: string(Coturn), Dir: dir,
		Args: append(flags, "-n", "--no-cli", "--log-file=stdout", "--simple-log",
			"--pidfile="+filepath.Join(dir, "pid"), "--userdb="+filepath.Join(dir, "db")),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopAndShow(t, "coturn", process) })
	return process
}
