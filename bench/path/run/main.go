// Command run makes an emulated path (package path), as root, to use by hand:
//
//	go run ./bench/path/run -rate 12.5e6 -rtt 50ms -loss 0.005              # until control-C
//	go run ./bench/path/run -rate 12.5e6 -rtt 50ms -- sh -c '$A iperf3 -sD; $B iperf3 -c $IPA'
//
// A command after -- runs with $A and $B set to what puts a command at either host, and $IPA,
// $IPB, $IP6A and $IP6B to their addresses; the path ends with it. Without one, all that is
// printed. Loss and reordering are shares, from 0 to 1. At the end it says what went each way.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/causeway-bt/causeway/bench/path"
)

func main() {
	if err := run(); err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			os.Exit(max(1, failed.ExitCode()))
		}
		fmt.Fprintln(os.Stderr, "path:", err)
		os.Exit(1)
	}
}

func run() error {
	var c path.Config
	flag.Float64Var(&c.Rate, "rate", 0, "bytes of IP packets per second, each way; 0: no cap")
	flag.DurationVar(&c.RTT, "rtt", 0, "round trip, half of it each way")
	flag.Float64Var(&c.Loss, "loss", 0, "share of packets lost, each way")
	flag.DurationVar(&c.Queue, "queue", 0, "longest wait in the queue; 0: a round trip, and at least 64 KiB")
	flag.DurationVar(&c.Jitter, "jitter", 0, "up to so much longer, in order")
	flag.Float64Var(&c.Reorder, "reorder", 0, "share of packets that others overtake")
	flag.DurationVar(&c.Late, "late", 5*time.Millisecond, "by which those are late")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p, err := path.New(ctx, c)
	if err != nil {
		return err
	}
	defer p.Close()
	defer func() {
		there, back := p.Counters()
		fmt.Fprintf(os.Stderr, "A to B: %+v\nB to A: %+v\n", there, back)
	}()
	names := []string{
		"A=" + strings.Join(p.A().Exec(), " "), "B=" + strings.Join(p.B().Exec(), " "),
		"IPA=" + p.A().IP, "IPB=" + p.B().IP, "IP6A=" + p.A().IP6, "IP6B=" + p.B().IP6,
	}
	if flag.NArg() == 0 {
		for _, n := range names {
			name, value, _ := strings.Cut(n, "=")
			fmt.Printf("%s='%s'\n", name, value)
		}
		<-ctx.Done()
		return nil
	}
	cmd := exec.CommandContext(ctx, flag.Arg(0), flag.Args()[1:]...)
	cmd.Env = append(os.Environ(), names...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd.Run()
}
