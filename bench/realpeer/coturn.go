package realpeer

import (
	"context"
	"fmt"
	"net"
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

// StartTURN runs coturn for a test; it relays between loopback addresses only.
func StartTURN(t testing.TB) *TURN {
	t.Helper()
	Need(t, Coturn)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &TURN{Addr: net.JoinHostPort(loopback, strconv.Itoa(port)), User: "causeway", Password: "secret"}
	s.Process, err = proc.Start(proc.Spec{
		Path: string(Coturn), Dir: dir,
		Args: []string{
			"-n", "--listening-ip=" + loopback, "--relay-ip=" + loopback, fmt.Sprintf("--listening-port=%d", port),
			"--allow-loopback-peers", "--no-tls", "--no-dtls", "--no-cli",
			"--lt-cred-mech", "--user=" + s.User + ":" + s.Password, "--realm=causeway.test",
			"--log-file=stdout", "--simple-log", "--pidfile=" + filepath.Join(dir, "pid"), "--userdb=" + filepath.Join(dir, "db"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopAndShow(t, "coturn", s.Process) })
	if err := poll(ctx, s.Process, "coturn to listen", func() bool { return accepts(loopback, port) }); err != nil {
		t.Fatal(err)
	}
	return s
}
