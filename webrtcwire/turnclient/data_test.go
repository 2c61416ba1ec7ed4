package turnclient

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestTrains are sent at once, as far as they fit.
func TestTrains(t *testing.T) {
	for _, test := range []struct {
		stream      bool
		total, size int
		trains      []int // bytes
		frame       int
	}{
		{false, 5, 5, []int{9}, 9},
		{true, 5, 5, []int{12}, 12},
		{false, 2001, 1000, []int{2*1004 + 5}, 1004},
		{true, 2001, 1000, []int{2*1004 + 8}, 1004},
		{true, 2002, 1001, []int{2 * 1008}, 1008},
		{false, 100_000, 1200, []int{53 * 1204, 30*1204 + 404}, 1204},
		{true, 100_001, 1202, []int{52 * 1208, 31*1208 + 240}, 1208},
		{false, maxTrain - channelHeader, maxTrain - channelHeader, []int{maxTrain}, maxTrain},
		{false, maxTrain, maxTrain, nil, 0}, // no packet can be so large
	} {
		var trains []int
		var sent []byte
		var packets int
		a := New(Config{Stream: test.stream, WriteSegments: func(b []byte, size int) {
			trains = append(trains, len(b))
			if size != test.frame {
				t.Errorf("%+v: frames of %d", test, size)
			}
			for len(b) > 0 {
				frame := b[:min(size, len(b))]
				b = b[len(frame):]
				length := int(binary.BigEndian.Uint16(frame[2:]))
				if binary.BigEndian.Uint16(frame) != firstChannel || length == 0 || length > len(frame)-channelHeader {
					t.Fatalf("%+v: a frame of %d bytes begins with %x", test, len(frame), frame[:channelHeader])
				}
				sent = append(sent, frame[channelHeader:channelHeader+length]...)
				packets++
				if padding := frame[channelHeader+length:]; len(padding) > 3 || !test.stream && len(padding) > 0 || bytes.Count(padding, []byte{0}) != len(padding) {
					t.Errorf("%+v: padded with %x", test, padding)
				}
			}
		}})
		want := make([]byte, test.total)
		for i := range want {
			want[i] = byte(i)%255 + 1
		}
		p, later := &peer{addr: peerAt, host: &host{}}, time.Now().Add(time.Hour).UnixNano()
		a.peers.peers[peerAt] = p
		p.channel.Store(firstChannel)
		p.bound.Store(later)
		p.host.granted.Store(later)
		for range 2 { // buffers are used again
			trains, sent, packets = nil, nil, 0
			a.SendSegments(want, test.size, peerAt)
			if test.trains == nil {
				want = nil
			}
			if !slices.Equal(trains, test.trains) || !bytes.Equal(sent, want) || packets != (len(want)+test.size-1)/test.size {
				t.Errorf("%+v: %d packets of %d bytes in trains of %v", test, packets, len(sent), trains)
			}
		}
		a.Send(nil, peerAt) // there is nothing to be sent
	}
}

func TestDataOfPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.client.Send([]byte("data"), peerAt)
		synctest.Wait()
		number := s.bound()[0]
		b := bytes.Join([][]byte{{byte(number >> 8), byte(number), 0, 3}, []byte("abc"), {0}}, nil)
		for _, test := range []struct {
			packet []byte
			taken  bool
			want   string
		}{
			{b, true, "abc"}, // padded, as by TCP
			{b[:7], true, "abc"},
			{b[:6], false, ""}, // cut off
			{[]byte{b[0], b[1] ^ 1, 0, 0}, false, ""},
			{indication("abc", peerAt), true, "abc"},
			{indication("", peerAt), true, ""},
		} {
			s.received = nil
			taken := s.client.Receive(bytes.Clone(test.packet))
			var want []packet
			if taken {
				want = []packet{{test.want, peerAt}}
			}
			if taken != test.taken || !slices.Equal(s.received, want) {
				t.Errorf("%x: taken: %v; received %v", test.packet, taken, s.received)
			}
		}
	})
}
