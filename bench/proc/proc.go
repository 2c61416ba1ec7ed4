// Package proc runs a program as a child process for tests and benchmarks: in a
// process group of its own, with its output kept for the report of a failure, and
// certainly gone at the end.
//
// It is not a general process supervisor: it restarts nothing and has no pipes
// beyond standard output by lines.
//
//	p, err := proc.Start(proc.Spec{Path: "aria2c", Args: args, OnLine: parse})
//	defer p.Stop()
//	err = p.Wait(ctx)
package proc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxOutput bounds what is kept of a program's output: the newest part, which
	// is where a failure explains itself.
	maxOutput = 64 << 10
	// stopGrace is how long a program gets between the polite signal and SIGKILL.
	// Transmission takes a few seconds to save its state.
	stopGrace = 5 * time.Second
)

// Spec says what to run.
type Spec struct {
	Path string
	Args []string
	// Command is put before both, as `ip netns exec NAME`, where the program shall have the id
	// of the process.
	Command []string
	Dir     string   // working folder; empty: the caller's
	Env     []string // added to the caller's environment
	// OnLine, if set, is called from one goroutine with each line of standard
	// output, without its newline. The slice is only valid during the call.
	OnLine func(line []byte)
	// OnErrorLine is the same for standard error. It must not wait.
	OnErrorLine func(line []byte)
}

// Process is a running or finished child.
type Process struct {
	name  string
	cmd   *exec.Cmd
	out   tail
	stdin io.Closer
	done  chan struct{} // closed when the child is reaped and its output read
	err   error         // set before done is closed
}

// Start runs the program. Standard input is a pipe that closes with the caller,
// so that a program which reads it can notice that it was left alone.
func Start(s Spec) (*Process, error) {
	words := slices.Concat(s.Command, []string{s.Path}, s.Args)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), s.Env...)
	ownGroup(cmd)

	p := &Process{name: s.Path, cmd: cmd, done: make(chan struct{})}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Path, err)
	}
	p.stdin = stdin
	cmd.Stderr = &p.out
	if s.OnErrorLine != nil {
		cmd.Stderr = io.MultiWriter(&p.out, &lines{f: s.OnErrorLine})
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Path, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Path, err)
	}
	go p.run(stdout, s.OnLine)
	return p, nil
}

func (p *Process) run(stdout io.Reader, onLine func([]byte)) {
	r := bufio.NewReaderSize(io.TeeReader(stdout, &p.out), maxOutput)
	for {
		line, err := r.ReadSlice('\n')
		if onLine != nil && len(line) > 0 {
			onLine(trimEOL(line))
		}
		// A line longer than the buffer arrives in parts; no program here writes one.
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			break
		}
	}
	p.err = p.cmd.Wait()
	close(p.done)
}

func trimEOL(line []byte) []byte {
	return []byte(strings.TrimRight(string(line), "\r\n"))
}

// PID returns the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended and all of its output was read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns when the child has ended, with its *exec.ExitError if it failed, or
// when ctx ends.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("wait for %s to end: %w", p.name, context.Cause(ctx))
	}
}

// ExitCode returns the exit status of a child that has ended, -1 while it runs or
// when a signal ended it.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Output returns the newest part of what the child wrote, both streams as they came.
func (p *Process) Output() string { return p.out.String() }

// Interrupt asks the child to end, as control-C does.
func (p *Process) Interrupt() error { return p.cmd.Process.Signal(os.Interrupt) }

// Kill ends the child and its group at once (SIGKILL) and waits until it is reaped.
func (p *Process) Kill() {
	killGroup(p.cmd)
	<-p.done
	p.stdin.Close()
}

// Stop asks the child to end, kills it after a few seconds, and waits until it is
// reaped. Stopping twice is allowed.
func (p *Process) Stop() {
	select {
	case <-p.done:
	default:
		_ = terminate(p.cmd)
	}
	select {
	case <-p.done:
	case <-time.After(stopGrace):
	}
	p.Kill()
}

// lines is an io.Writer that calls f with each line.
type lines struct {
	f    func(line []byte)
	rest []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte{'\n'})
		if !whole {
			return len(b), nil
		}
		l.f(trimEOL(line))
		l.rest = rest
	}
}

// tail is an io.Writer that keeps the newest maxOutput bytes.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - maxOutput; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
