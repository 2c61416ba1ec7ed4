package path

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// Probe sends small packets from A to B, one each interval, until ctx ends, and returns the
// round trips of those that B's kernel answered and that came back by then.
func (p *Path) Probe(ctx context.Context, every time.Duration) ([]time.Duration, error) {
	var conn *icmp.PacketConn
	if err := p.a.Do(func() (err error) { conn, err = icmp.ListenPacket("ip4:icmp", p.a.IP); return err }); err != nil {
		return nil, fmt.Errorf("probe the path: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	id := int(probes.Add(1)) & 0xffff
	began := time.Now()
	var sent [1 << 16]atomic.Int64 // since then, by sequence number
	ended := make(chan error, 1)
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := uint16(0); ; i++ {
			message := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: int(i)}}
			b, err := message.Marshal(nil)
			if err == nil {
				sent[i].Store(int64(time.Since(began)))
				_, err = conn.WriteTo(b, &net.IPAddr{IP: net.ParseIP(p.b.IP)})
			}
			if err != nil {
				conn.Close() // for the reader, if we are the first to fail
				ended <- err
				return
			}
			<-tick.C
		}
	}()
	var trips []time.Duration
	buf := make([]byte, mtu)
	for {
		size, _, err := conn.ReadFrom(buf)
		now := time.Since(began)
		if err != nil {
			conn.Close()
			if err := <-ended; ctx.Err() == nil {
				return trips, fmt.Errorf("probe the path: %w", err)
			}
			return trips, nil
		}
		message, err := icmp.ParseMessage(1, buf[:size]) // 1 is ICMP for IPv4
		if err != nil {
			continue
		}
		if echo, ok := message.Body.(*icmp.Echo); ok && message.Type == ipv4.ICMPTypeEchoReply && echo.ID == id {
			trips = append(trips, now-time.Duration(sent[echo.Seq].Load()))
		}
	}
}

// probes numbers the probes of this process.
var probes atomic.Int64
