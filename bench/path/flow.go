package path

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// Flow is a connection of the kernel's TCP, from A to B, that carries as much as it can: what
// others share the path with.
type Flow struct {
	listener net.Listener
	from, to net.Conn
	received atomic.Int64
	wg       sync.WaitGroup
}

// Flow starts one with a congestion control of the kernel's, as "cubic".
func (p *Path) Flow(congestion string) (*Flow, error) {
	f := &Flow{}
	err := p.b.Do(func() (err error) { f.listener, err = net.Listen("tcp4", net.JoinHostPort(p.b.IP, "0")); return err })
	if err == nil {
		err = p.a.Do(func() (err error) { f.from, err = net.Dial("tcp4", f.listener.Addr().String()); return err })
	}
	if err == nil {
		f.to, err = f.listener.Accept()
	}
	if err == nil {
		err = control(f.from, congestion)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("start a TCP flow: %w", err)
	}
	f.wg.Go(func() {
		for block := make([]byte, mtu*40); ; { // no more calls than needed
			if _, err := f.from.Write(block); err != nil {
				return
			}
		}
	})
	f.wg.Go(func() {
		for buf := make([]byte, 1<<18); ; {
			n, err := f.to.Read(buf)
			f.received.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	return f, nil
}

func control(c net.Conn, congestion string) error {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = setCongestion(fd, congestion) })
	return errors.Join(err, set)
}

// Received returns the bytes so far, without headers; none of no flow.
func (f *Flow) Received() int64 {
	if f == nil {
		return 0
	}
	return f.received.Load()
}

// Close ends the flow.
func (f *Flow) Close() {
	if f.listener != nil {
		f.listener.Close()
	}
	for _, c := range []net.Conn{f.from, f.to} {
		if c != nil {
			c.Close()
		}
	}
	f.wg.Wait()
}
