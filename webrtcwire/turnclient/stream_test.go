package turnclient

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// TestReader has packets of all kinds and sizes, as they come in one piece and byte by byte.
func TestReader(t *testing.T) {
	var stream []byte
	var want [][]byte
	for _, length := range []int{0, 1, 2, 3, 4, 1200, 1<<16 - 1} {
		padded := (channelHeader + length + 3) &^ 3
		packet := append([]byte{0x40, 1, byte(length >> 8), byte(length)}, make([]byte, padded-channelHeader)...)
		want = append(want, packet, check())
	}
	for _, packet := range want {
		stream = append(stream, packet...)
	}
	for _, in := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream))} {
		r := NewReader(in)
		for i, packet := range want {
			got, err := r.Next()
			if err != nil || !bytes.Equal(got, packet) && !isSTUN(packet) || len(got) != len(packet) {
				t.Fatalf("packet %d: %d bytes, %v; want %d", i, len(got), err, len(packet))
			}
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) || r.Buffered() {
			t.Errorf("at the end: %v", err)
		}
	}
	for name, rubbish := range map[string][]byte{"HTTP": []byte("HTTP/1.1 400"), "DTLS": {22, 254, 253, 0, 0}, "cut": {0x40, 1, 0, 9, 1}} {
		if got, err := NewReader(bytes.NewReader(rubbish)).Next(); err == nil {
			t.Errorf("%s: read %x", name, got)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{0x40, 1, 0, 1, 1, 0, 0, 0})
	f.Add(check())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, total := NewReader(bytes.NewReader(b)), 0
		for {
			packet, err := r.Next()
			if err != nil {
				return
			}
			if !bytes.Equal(packet, b[total:total+len(packet)]) {
				t.Fatalf("packet at %d: %x", total, packet)
			}
			if total += len(packet); len(packet) == 0 {
				t.Fatal("an empty packet")
			}
		}
	})
}
