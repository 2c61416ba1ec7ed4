package transport

import (
	"context"
	"errors"
	"net"
	"time"
)

// RaceDelay is how long a way to connect is usually tried alone before the next is tried beside
// it: the Connection Attempt Delay of RFC 8305 section 5.
const RaceDelay = 250 * time.Millisecond

// Way is a way to connect to a peer.
type Way func(ctx context.Context) (net.Conn, error)

// Race connects by the first of the ways that succeeds, and tells which: it begins with the first,
// and goes on to the next after delay, or at once when all that were begun have failed. The
// others are given up and closed; all have ended when it returns.
func Race(ctx context.Context, delay time.Duration, ways ...Way) (conn net.Conn, winner int, err error) {
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	type result struct {
		conn net.Conn
		way  int
		err  error
	}
	results := make(chan result)
	begun, ended := 0, 0
	begin := func() {
		way := begun
		begun++
		go func() {
			conn, err := ways[way](ctx)
			results <- result{conn, way, err}
		}()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	var errs []error
	for begin(); ended < begun; {
		select {
		case r := <-results:
			ended++
			switch {
			case r.err != nil:
				errs = append(errs, r.err)
			case conn != nil:
				r.conn.Close()
			default:
				conn, winner = r.conn, r.way
				giveUp()
			}
			if conn == nil && ended == begun && begun < len(ways) && ctx.Err() == nil {
				begin()
				timer.Reset(delay)
			}
		case <-timer.C:
			if conn == nil && begun < len(ways) && ctx.Err() == nil {
				begin()
				timer.Reset(delay)
			}
		}
	}
	if conn != nil {
		return conn, winner, nil
	}
	return nil, 0, errors.Join(errs...)
}
