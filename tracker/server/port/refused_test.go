package port

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// record is a log that is read while it is written.
type record struct {
	mu  sync.Mutex
	log bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(b)
}

// A host that opens more than its share is logged, once.
func TestRefusalsAreLoggedOnce(t *testing.T) {
	var log record
	address, _, _ := split(t, Config{WaitingPerHost: 2, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for i := range 6 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i < 2 {
			continue // these wait
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d is not closed: %v", i, err)
		}
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if n := strings.Count(log.log.String(), "too many silent connections of one host"); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, log.log.String())
	}
}
