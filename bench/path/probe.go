package path

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// Probe sends so many small packets from A to B, one each interval, and returns the round
// trips of those that B's kernel answered and that came back within a few seconds.
func (p *Path) Probe(ctx context.Context, n int, every time.Duration) ([]time.Duration, error) {
	const patience = 3 * time.Second // for the last; more than any queue
	var conn *icmp.PacketConn
	if err := p.a.Do(func() (err error) { conn, err = icmp.ListenPacket("ip4:icmp", p.a.IP); return err }); err != nil {
		return nil, fmt.Errorf("probe the path: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()

	id := os.Getpid() & 0xffff
	sent := make([]atomic.Int64, n) // since the beginning
	began := time.Now()
	failed := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := range n {
			message := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: i}}
			b, err := message.Marshal(nil)
			if err == nil {
				sent[i].Store(int64(time.Since(began)))
				_, err = conn.WriteTo(b, &net.IPAddr{IP: net.ParseIP(p.b.IP)})
			}
			if err != nil {
				failed <- err
				conn.Close()
				return
			}
			<-tick.C
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
	}()
	var trips []time.Duration
	buf := make([]byte, mtu)
	for len(trips) < n {
		size, _, err := conn.ReadFrom(buf)
		now := time.Since(began)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			<-done
			select {
			case err = <-failed:
			default:
			}
			return nil, errors.Join(fmt.Errorf("probe the path: %w", err), ctx.Err())
		}
		message, err := icmp.ParseMessage(1, buf[:size]) // 1 is ICMP for IPv4
		if err != nil {
			continue
		}
		if echo, ok := message.Body.(*icmp.Echo); ok && message.Type == ipv4.ICMPTypeEchoReply && echo.ID == id && echo.Seq < n {
			trips = append(trips, now-time.Duration(sent[echo.Seq].Load()))
		}
	}
	<-done
	return trips, nil
}
