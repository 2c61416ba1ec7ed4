package main_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/bench/hostile"
	"github.com/causeway-bt/causeway/bench/realpeer"
	"github.com/causeway-bt/causeway/wire/transport"
	"github.com/causeway-bt/causeway/wire/utp"
)

// Whatever comes at the UDP port, an honest peer gets in by uTP and is served.
func TestFloodsOfUTPKeepNobodyOut(t *testing.T) {
	for name, flood := range map[string]func(t *testing.T, target netip.AddrPort){
		"SYNs from one address":         func(t *testing.T, target netip.AddrPort) { floodSYNs(t, target, 1) },
		"SYNs from many addresses":      func(t *testing.T, target netip.AddrPort) { floodSYNs(t, target, 200) },
		"silent peers from one address": func(t *testing.T, target netip.AddrPort) { silentPeers(t, target, 1) },
		"silent peers from many":        func(t *testing.T, target netip.AddrPort) { silentPeers(t, target, 150) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			realpeer.Need(t)
			tor, dir := single(t, 4<<20), t.TempDir()
			seeder, addr := seedUTP(t, tor, args(alone, utpOnly)...)
			peak := watchMemory(seeder)
			flood(t, netip.MustParseAddrPort(addr))
			began := time.Now()
			run := start(t, args([]string{"download", tor.Magnet(), "-o", dir, "--peer", addr}, alone, utpOnly)...)
			finish(t, run, tor, dir)
			if took := time.Since(began); took > crowdBound {
				t.Errorf("the honest transfer took %v, want less than %v", took, crowdBound)
			}
			seeder.Stop()
			if memory := peak(); memory > crowdMemory {
				t.Errorf("the program used %d MiB", memory>>20)
			}
		})
	}
}

// floodSYNs sends 20,000 SYNs, and goes on with 2,000 a second until the test ends.
func floodSYNs(t *testing.T, target netip.AddrPort, addresses int) {
	t.Helper()
	var conns []*net.UDPConn
	for i := range addresses {
		conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(hostile.Loopback(i))}, net.UDPAddrFromAddrPort(target))
		if err != nil {
			t.Skipf("this machine has no more loopback addresses: %v", err)
		}
		t.Cleanup(func() { conn.Close() })
		conns = append(conns, conn)
	}
	syn := make([]byte, 20)
	syn[0] = 0x41
	send := func(n int) {
		binary.BigEndian.PutUint16(syn[2:], uint16(n))
		binary.BigEndian.PutUint16(syn[16:], uint16(n*7))
		_, _ = conns[n%len(conns)].Write(syn)
	}
	n := 0
	for ; n < 20_000; n++ {
		send(n)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-stopped })
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				for range 10 {
					send(n)
					n++
				}
			}
		}
	}()
}

// silentPeers opens 300 connections, each of which sends a byte and then nothing.
func silentPeers(t *testing.T, target netip.AddrPort, addresses int) {
	t.Helper()
	const total = 300
	var opening sync.WaitGroup
	for i := range addresses {
		udp, err := transport.ListenUDP(transport.ListenOptions{Host: hostile.Loopback(i)})
		if err != nil {
			t.Skipf("this machine has no more loopback addresses: %v", err)
		}
		socket := utp.New(udp.Lend(transport.ClassUTP), utp.Config{})
		t.Cleanup(func() { socket.Close(); udp.Close() })
		for range total / addresses {
			opening.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if conn, err := socket.DialContext(ctx, target); err == nil { // a later one may be refused
					_, _ = conn.Write([]byte{19})
				}
			})
		}
	}
	opening.Wait()
}
