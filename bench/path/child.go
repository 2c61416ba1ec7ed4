package path

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// The forwarder is a process of its own that runs before others: within another, it would wait
// for Go to find it a processor, and that for threads which wait for the measured programs. It is the same program as ours, told by this variable to be nothing else.
const asForwarder = "CAUSEWAY_BENCH_FORWARDER"

func init() {
	if os.Getenv(asForwarder) == "" {
		return
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "forward packets:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// request is what the forwarder is asked, a line of JSON each; it answers each with a reply.
type request struct {
	Set   *Config
	Reset bool
}

type reply struct {
	There, Back Counters
	Ages        [2]time.Duration // since each began: a time of day would not survive a clock that is set
}

// serve is the forwarder, which gets its devices as files and ends with its standard input.
func serve(in io.Reader, out io.Writer) error {
	const firstFile = 3
	a, errA := adoptTAP(firstFile)
	b, errB := adoptTAP(firstFile + 1)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	hurry()
	f := newForwarder(a, b)
	go f.run()
	requests, replies := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q request
		if err := requests.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if q.Set != nil {
			f.set(*q.Set)
		}
		if q.Reset {
			f.reset()
		}
		var r reply
		r.There, r.Back = f.counters()
		r.Ages = [2]time.Duration{time.Since(r.There.Begun), time.Since(r.Back.Begun)}
		if err := replies.Encode(r); err != nil {
			return err
		}
	}
}

// child is a running forwarder.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser

	mu       sync.Mutex
	requests *json.Encoder
	replies  *json.Decoder
}

// startForwarder starts one, which has the devices from then on.
func startForwarder(a, b *tap) (*child, error) {
	cmd := exec.Command("/proc/self/exe")
	// One of Go's processors for packets, which does not yield, and one for the rest.
	cmd.Env = append(os.Environ(), asForwarder+"=1", "GOMAXPROCS=2")
	cmd.ExtraFiles = []*os.File{a.file, b.file}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the forwarder: %w", err)
	}
	return &child{cmd: cmd, in: in, requests: json.NewEncoder(in), replies: json.NewDecoder(out)}, nil
}

func (c *child) ask(q request) (r reply, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err = c.requests.Encode(q); err == nil {
		err = c.replies.Decode(&r)
	}
	if err != nil {
		return r, fmt.Errorf("ask the forwarder: %w", err)
	}
	now := time.Now()
	for i, w := range []*Counters{&r.There, &r.Back} {
		if !w.Begun.IsZero() {
			w.Begun = now.Add(-r.Ages[i])
		}
	}
	return r, nil
}

func (c *child) close() {
	const patience = 10 * time.Second
	c.in.Close()
	killer := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer killer.Stop()
	_ = c.cmd.Wait() // it is gone, however
}
