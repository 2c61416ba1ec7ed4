package portmap

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// want is a mapping to be asked for.
type want struct {
	tcp       bool
	internal  uint16
	suggested uint16 // external
	lease     time.Duration
}

func (w want) String() string { return fmt.Sprintf("%s port %d", transportName(w.tcp), w.internal) }

func transportName(tcp bool) string {
	if tcp {
		return "TCP"
	}
	return "UDP"
}

// grant is what a gateway gave.
type grant struct {
	want     want
	external netip.AddrPort
	lease    time.Duration // 0: for ever
}

// gateway is one that answered, by one protocol. Its methods are called from one goroutine.
type gateway interface {
	protocol() Protocol
	address() netip.Addr
	// open maps a port, or renews that. The gateway may have chosen another than was
	// suggested.
	open(ctx context.Context, w want) (grant, error)
	// close removes the mapping.
	close(ctx context.Context, g grant) error
	// intact reports whether the gateway still has what it gave, and which external address
	// it has now.
	intact(ctx context.Context, grants []grant) (external netip.Addr, ok bool, err error)
}

// refusedError says that a gateway refused, which is worth telling.
type refusedError struct {
	protocol Protocol
	gateway  netip.Addr
	what     string
	err      error
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("the gateway %v does not map %s (%s): %v", e.gateway, e.what, e.protocol, e.err)
}

func (e *refusedError) Unwrap() error { return e.err }
