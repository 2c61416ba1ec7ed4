//go:build !linux

package socket

import (
	"errors"
	"net"
)

// loop is not there on this system: each connection has a goroutine.
type loop struct{}

func startLoops(*Server, int) []*loop { return nil }

func (*loop) prepare(*Conn, net.Conn, *net.TCPConn) error { return errors.ErrUnsupported }
func (*loop) adopt(*Conn, []byte) error                   { return errors.ErrUnsupported }
func (*loop) stop()                                       {}

func (*Conn) writeQueue(int64) {}
func (*Conn) shutdown()        {}
func (*Conn) abandon()         {}
