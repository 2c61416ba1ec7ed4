package transport

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// attempt is a way to connect that takes its time.
type attempt struct {
	takes time.Duration
	err   error

	began time.Duration // -1: it was not tried
	conn  *closeNoter
}

type closeNoter struct {
	net.Conn
	closed bool
}

func (c *closeNoter) Close() error { c.closed = true; return nil }

// TestRace has the first that connects win, the next begin in time, and the losers closed.
func TestRace(t *testing.T) {
	failed := errors.New("refused")
	const ms = time.Millisecond
	for _, test := range []struct {
		name          string
		first, second attempt
		winner        int // -1: none
		secondBegins  time.Duration
		takes         time.Duration
	}{
		{"the first is quick", attempt{takes: 10 * ms}, attempt{}, 0, -1, 10 * ms},
		{"the first is slow", attempt{takes: time.Hour}, attempt{takes: 10 * ms}, 1, RaceDelay, RaceDelay + 10*ms},
		{"the first is slow, and still quicker", attempt{takes: 300 * ms}, attempt{takes: time.Second}, 0, RaceDelay, 300 * ms},
		{"the first fails", attempt{takes: 10 * ms, err: failed}, attempt{takes: 20 * ms}, 1, 10 * ms, 30 * ms},
		{"the first fails late", attempt{takes: 300 * ms, err: failed}, attempt{takes: 100 * ms}, 1, RaceDelay, RaceDelay + 100*ms},
		{"both fail", attempt{takes: 10 * ms, err: failed}, attempt{takes: 10 * ms, err: failed}, -1, 10 * ms, 20 * ms},
		{"both at once", attempt{takes: 300 * ms}, attempt{takes: 300*ms - RaceDelay}, -2, RaceDelay, 300 * ms},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				attempts := []*attempt{&test.first, &test.second}
				var ways []Way
				for _, a := range attempts {
					a.began = -1
					ways = append(ways, func(ctx context.Context) (net.Conn, error) {
						a.began = time.Since(start)
						select {
						case <-time.After(a.takes):
						case <-ctx.Done():
							return nil, ctx.Err()
						}
						if a.err != nil {
							return nil, a.err
						}
						a.conn = &closeNoter{}
						return a.conn, nil
					})
				}
				conn, winner, err := Race(t.Context(), RaceDelay, ways...)
				if time.Since(start) != test.takes || test.second.began != test.secondBegins {
					t.Errorf("took %v, the second began after %v; want %v, %v", time.Since(start), test.second.began, test.takes, test.secondBegins)
				}
				if test.winner == -1 {
					if conn != nil || !errors.Is(err, failed) {
						t.Fatalf("got %v, %v", conn, err)
					}
					return
				}
				if err != nil || test.winner >= 0 && winner != test.winner {
					t.Fatalf("way %d won (%v), want %d", winner, err, test.winner)
				}
				for i, a := range attempts {
					if a.conn != nil && a.conn.closed != (i != winner) {
						t.Errorf("way %d won, and the connection of way %d is closed: %v", winner, i, a.conn.closed)
					}
				}
			})
		})
	}
}

// TestRaceEndsWithItsContext: both are given up.
func TestRaceEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wait := func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		start := time.Now()
		if conn, _, err := Race(ctx, 0, wait, wait); conn != nil || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %v, %v after %v", conn, err, time.Since(start))
		}
	})
}
