package socket

import (
	"bytes"
	"net"
	"slices"
	"testing"
	"time"
	"unicode/utf8"
)

// nowhere is a stream that takes everything.
type nowhere struct{ net.Conn }

func (nowhere) Write(b []byte) (int, error)      { return len(b), nil }
func (nowhere) SetWriteDeadline(time.Time) error { return nil }
func (nowhere) Close() error                     { return nil }

// heard records messages.
type heard struct{ messages *[]string }

func (h heard) Message(_ *Batch, text []byte) { *h.messages = append(*h.messages, string(text)) }
func (heard) Closed(*Batch)                   {}

// FuzzFrames feeds what a client may send in one piece and in two: the same messages come
// of it, each valid, and no more is kept than the bounds allow.
func FuzzFrames(f *testing.F) {
	for _, seed := range [][]byte{
		frame(0x81, "text"), append(frame(0x01, "a"), frame(0x80, "b")...), frame(0x89, "ping"), frame(0x88, "\x03\xe8"),
		frame(0x82, long[:300]), {0x81, 0xFE, 0, 5}, {0x81, 1, 'x'}, bytes.Repeat([]byte{0xFF}, 14), frame(0x81, "\xff"),
		append(frame(0x01, "\xc3"), frame(0x80, "\xa4")...),
	} {
		f.Add(seed, uint(3))
	}
	s := New(Config{MaxMessage: 200, Goroutines: true})
	feed := func(t *testing.T, pieces ...[]byte) (messages []string, err error) {
		c := &Conn{server: s, stream: nowhere{}, handler: heard{&messages}}
		b := &Batch{}
		for _, piece := range pieces {
			if err = c.take(b, slices.Clone(piece)); err != nil {
				break
			}
			if len(c.partial) > maxHeader+200 || len(c.message) > 200 {
				t.Fatalf("%d and %d bytes are kept", len(c.partial), len(c.message))
			}
		}
		b.flush()
		s.working.Wait()
		return messages, err
	}
	f.Fuzz(func(t *testing.T, data []byte, at uint) {
		i := int(at % uint(len(data)+1))
		whole, err := feed(t, data)
		pieces, err2 := feed(t, data[:i], data[i:])
		if !slices.Equal(whole, pieces) || err != err2 {
			t.Fatalf("%q, %v; in two pieces %q, %v", whole, err, pieces, err2)
		}
		for _, m := range whole {
			if !utf8.ValidString(m) || len(m) > 200 {
				t.Fatalf("a message is %q", m)
			}
		}
	})
}

func TestUnmaskAnyLength(t *testing.T) {
	for n := range 100 {
		payload := []byte(long[:n])
		mask := [4]byte{1, 2, 3, 4}
		unmask(payload, mask)
		for i := range payload {
			if payload[i] != long[i]^mask[i%4] {
				t.Fatalf("byte %d of %d", i, n)
			}
		}
	}
}
