package webrtcwire

import (
	"bytes"
	"errors"
	"testing"
)

// twins are the two ends of a connection's records.
func twins(t testing.TB) (a, b *records) {
	t.Helper()
	key := func(n byte) direction {
		d, err := newDirection(bytes.Repeat([]byte{n}, 16), []byte{n, 2, 3, 4})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	return &records{out: key(1), in: key(2), next: 1}, &records{out: key(2), in: key(1), next: 1}
}

func sealed(r *records, text string) []byte {
	b := make([]byte, recordHead+len(text)+recordTail)
	copy(b[recordHead:], text)
	r.seal(typeApplication, b)
	return b
}

func TestRecordsComeOnce(t *testing.T) {
	a, b := twins(t)
	const n = 3 * replayWindow
	var all [][]byte
	for range n {
		all = append(all, sealed(a, "text"))
	}
	open := func(i int) error {
		text, err := b.open(bytes.Clone(all[i]))
		if err == nil && string(text) != "text" {
			t.Errorf("record %d: %q", i, text)
		}
		return err
	}
	for _, step := range []struct {
		record int
		want   error
	}{
		{0, nil}, {0, errReplay}, {2, nil}, {1, nil}, {1, errReplay}, {replayWindow, nil}, {replayWindow - 900, nil},
		{replayWindow - 900, errReplay}, {n - 1, nil}, {n - 2, nil}, {n - 1, errReplay}, {3, errReplay}, {n - 500, nil}, {n - 500, errReplay},
	} {
		if err := open(step.record); !errors.Is(err, step.want) {
			t.Errorf("record %d: %v, want %v", step.record, err, step.want)
		}
	}
}

// TestForgedRecordsLeaveNoTrace has one with a number far ahead.
func TestForgedRecordsLeaveNoTrace(t *testing.T) {
	a, b := twins(t)
	good, forged := sealed(a, "good"), sealed(a, "forged")
	forged[5] = 0xff
	if _, err := b.open(forged); err == nil {
		t.Error("a forged record was taken")
	}
	if text, err := b.open(good); err != nil || string(text) != "good" {
		t.Errorf("then %q, %v", text, err)
	}
}

// TestResealedRecordsFollow has pion send a record of its own after the handshake, with a number
// that was used meanwhile.
func TestResealedRecordsFollow(t *testing.T) {
	a, b := twins(t)
	pion := &records{out: a.out, in: a.in, next: 1}
	first := sealed(a, "ours")
	plain := append([]byte{typeChangeCipherSpec, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1}, 1)
	datagram := a.reseal(append(bytes.Clone(plain), sealed(pion, "pion's")...))
	if !bytes.Equal(datagram[:len(plain)], plain) {
		t.Error("a record in the clear was changed")
	}
	for _, record := range [][]byte{first, datagram[len(plain):]} {
		if _, err := b.open(record); err != nil {
			t.Errorf("%v", err)
		}
	}
	if a.reseal([]byte{typeHandshake, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0}) != nil {
		t.Error("a record that is not pion's was sealed")
	}
}

// FuzzRecords feeds datagrams to the records of a connection.
func FuzzRecords(f *testing.F) {
	a, _ := twins(f)
	f.Add(sealed(a, "text"))
	f.Add([]byte{typeAlert, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 2, 1, 0})
	f.Fuzz(func(t *testing.T, datagram []byte) {
		_, b := twins(t)
		_ = b.reseal(datagram)
		for rest := datagram; ; {
			var record []byte
			if record, rest = cutRecord(rest); record == nil {
				return
			}
			if text, err := b.open(record); err == nil && string(text) != "text" {
				t.Errorf("opened %q", text)
			}
		}
	})
}
