package webrtcwire

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// benchBlock is what a seeder writes at once: headers and blocks, as WriteBuffers
// gets them.
const benchBlock = 16 << 10

// BenchmarkConn measures one connection over loopback, both ends in this process:
//
//	go test -run '^$' -bench . -benchtime 512x ./webrtcwire
//
// Each operation is 1 MiB. BenchmarkBarePion is the same with pion's defaults.
func BenchmarkConn(b *testing.B) {
	from, to := pair(b)
	header := make([]byte, 13)
	block := make([]byte, benchBlock)
	const blocks = 1 << 20 / (benchBlock + 13)
	size := blocks * (benchBlock + 13)
	done := make(chan error, 1)
	b.SetBytes(int64(size))
	cpu := processCPU()
	b.ResetTimer()
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard},
			io.LimitReader(struct{ io.Reader }{to}, int64(size)*int64(b.N)), make([]byte, 256<<10))
		done <- err
	}()
	buffers := make(net.Buffers, 0, 2*blocks)
	for range b.N {
		message := buffers[:0]
		for range blocks {
			message = append(message, header, block)
		}
		if _, err := from.WriteBuffers(&message); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	reportCPU(b, cpu, int64(size)*int64(b.N))
}

// BenchmarkBarePion measures a data channel of pion with its default settings and
// the flow control of its examples.
func BenchmarkBarePion(b *testing.B) {
	const message, high, low = 64 << 10, 1 << 20, 512 << 10
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings))
	var pcs [2]*webrtc.PeerConnection
	for i := range pcs {
		pc, err := api.NewPeerConnection(webrtc.Configuration{})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = pc.GracefulClose() }()
		pcs[i] = pc
	}
	received := make(chan struct{})
	want := int64(b.N) << 20
	pcs[1].OnDataChannel(func(channel *webrtc.DataChannel) {
		var got int64
		channel.OnMessage(func(m webrtc.DataChannelMessage) {
			if got += int64(len(m.Data)); got >= want {
				close(received)
			}
		})
	})
	channel, err := pcs[0].CreateDataChannel("bench", nil)
	if err != nil {
		b.Fatal(err)
	}
	opened, more := make(chan struct{}), make(chan struct{}, 1)
	channel.OnOpen(func() { close(opened) })
	channel.SetBufferedAmountLowThreshold(low)
	channel.OnBufferedAmountLow(func() {
		select {
		case more <- struct{}{}:
		default:
		}
	})
	signal(b, pcs[0], pcs[1])
	select {
	case <-opened:
	case <-time.After(testTimeout):
		b.Fatal("no connection")
	}
	data := make([]byte, message)
	b.SetBytes(1 << 20)
	cpu := processCPU()
	b.ResetTimer()
	for sent := int64(0); sent < want; sent += message {
		if channel.BufferedAmount() > high {
			<-more
		}
		if err := channel.Send(data); err != nil {
			b.Fatal(err)
		}
	}
	<-received
	reportCPU(b, cpu, want)
}

func signal(b *testing.B, from, to *webrtc.PeerConnection) {
	b.Helper()
	offer, err := from.CreateOffer(nil)
	if err != nil {
		b.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(from)
	if err := from.SetLocalDescription(offer); err != nil {
		b.Fatal(err)
	}
	<-gathered
	if err := to.SetRemoteDescription(*from.LocalDescription()); err != nil {
		b.Fatal(err)
	}
	answer, err := to.CreateAnswer(nil)
	if err != nil {
		b.Fatal(err)
	}
	gathered = webrtc.GatheringCompletePromise(to)
	if err := to.SetLocalDescription(answer); err != nil {
		b.Fatal(err)
	}
	<-gathered
	if err := from.SetRemoteDescription(*to.LocalDescription()); err != nil {
		b.Fatal(err)
	}
}

// reportCPU reports the processor time of both ends together, in seconds for each
// gigabyte carried.
func reportCPU(b *testing.B, before time.Duration, n int64) {
	b.Helper()
	if used := processCPU() - before; used > 0 {
		b.ReportMetric(used.Seconds()/(float64(n)/1e9), "cpu-s/GB")
	}
}
