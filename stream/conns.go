package stream

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// connState is what a connection is open for, worth least first.
type connState int

const (
	connRefused   connState = iota // is closed as soon as what it was answered is sent
	connWaiting                    // new or kept alive, until a request is there
	connAnswering                  // has sent a request
	connStreaming                  // gets a file; the places of those are bounded by themselves
)

// conn is an open connection of a connTable.
type conn struct {
	net    net.Conn
	remote netip.Prefix

	state connState // guarded by the table
	since time.Time // of the state; guarded by the table
}

func (c *conn) share() netip.Prefix { return c.remote }

// worthLessThan: the longer a connection is of no use, the less it is worth.
func (c *conn) worthLessThan(d *conn) bool {
	if c.state != d.state {
		return c.state < d.state
	}
	return c.since.Before(d.since)
}

// connTable is a listener that bounds the open connections. A new one is always
// accepted: where there are too many, the one worth least is closed. Waiting for others
// to end would let whoever holds all of the places, idle, keep everybody out.
//
// It hands out the connections themselves: a wrapped one would lose sendfile.
type connTable struct {
	net.Listener
	limit int

	mu   sync.Mutex
	open map[net.Conn]*conn
}

func newConnTable(ln net.Listener, limit int) *connTable {
	return &connTable{Listener: ln, limit: limit, open: make(map[net.Conn]*conn)}
}

// Accept implements net.Listener.
func (t *connTable) Accept() (net.Conn, error) {
	accepted, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{net: accepted, remote: shareOf(accepted.RemoteAddr()), state: connWaiting, since: time.Now()}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open) >= t.limit {
		worst, _ := givesWay(maps.Values(t.open), c.remote, (*conn).worthLessThan)
		delete(t.open, worst.net)
		_ = worst.net.Close() // its handler is told by the next read or write
	}
	t.open[accepted] = c
	return accepted, nil
}

// changed is the http.Server's hook for a connection's state.
func (t *connTable) changed(nc net.Conn, state http.ConnState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.open[nc]
	switch {
	case c == nil: // it has given way
	case state == http.StateActive:
		c.enter(connAnswering)
	case state == http.StateIdle:
		c.enter(connWaiting)
	case state == http.StateClosed || state == http.StateHijacked:
		delete(t.open, nc)
	}
}

func (c *conn) enter(state connState) { c.state, c.since = state, time.Now() }

type connKey struct{}

// inContext is the http.Server's hook by which requests know their connection.
func (t *connTable) inContext(ctx context.Context, nc net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, func(state connState) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if c := t.open[nc]; c != nil {
			c.enter(state)
		}
	})
}

// enterState says what a request's connection is open for.
func enterState(r *http.Request, state connState) {
	if enter, ok := r.Context().Value(connKey{}).(func(connState)); ok {
		enter(state)
	}
}
