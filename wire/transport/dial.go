package transport

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// dialTimeout is the default of DialOptions.Timeout: three SYNs on most systems.
const dialTimeout = 10 * time.Second

// DialOptions are the optional parts of [Dial].
type DialOptions struct {
	// Encryption says whether to encrypt; the zero value prefers to.
	Encryption Encryption
	// Connect opens a connection, by whatever way, TCP or uTP; nil: TCP as the fields below say.
	// Under EncryptionPrefer it may be called twice.
	Connect Way
	// Timeout bounds each TCP connection attempt; 0 means 10 s. The encrypted
	// handshake has 15 s of its own.
	Timeout time.Duration
	// LocalAddr is the address to dial from; the zero value leaves it to the system.
	LocalAddr netip.Addr
	// Dialer connects, and knows the address to dial from: LocalAddr does not count then. Nil:
	// package net.
	Dialer Dialer
}

// Dial connects to a peer that has infoHash and, unless encryption is off, goes through the dialing side of message stream encryption. Under
// EncryptionPrefer a peer that fails that handshake is dialed once more in
// plaintext, since a client without encryption answers one by hanging up.
func Dial(ctx context.Context, addr netip.AddrPort, infoHash [20]byte, o DialOptions) (*Conn, error) {
	if o.Connect == nil {
		o.Connect = func(ctx context.Context) (net.Conn, error) { return DialTCP(ctx, addr, o) }
	}
	raw, err := o.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("dialing %v: %w", addr, err)
	}
	if o.Encryption == EncryptionOff {
		return &Conn{Conn: raw}, nil
	}
	c, err := initiate(ctx, raw, infoHash, o.Encryption)
	if err == nil {
		return c, nil
	}
	raw.Close()
	if o.Encryption == EncryptionRequire || ctx.Err() != nil {
		return nil, fmt.Errorf("dialing %v: %w", addr, err)
	}
	raw, plainErr := o.Connect(ctx)
	if plainErr != nil {
		return nil, fmt.Errorf("dialing %v in plaintext: %w (before that, encrypted: %w)", addr, plainErr, err)
	}
	return &Conn{Conn: raw}, nil
}

// DialTCP opens a TCP connection, as o.Timeout, o.LocalAddr and o.Dialer say.
func DialTCP(ctx context.Context, addr netip.AddrPort, o DialOptions) (net.Conn, error) {
	timeout := o.Timeout
	if timeout == 0 {
		timeout = dialTimeout
	}
	if o.Dialer != nil {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return o.Dialer.DialContext(ctx, "tcp", addr.String())
	}
	d := net.Dialer{Timeout: timeout}
	if o.LocalAddr.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(o.LocalAddr, 0))
	}
	return d.DialContext(ctx, "tcp", addr.String())
}
