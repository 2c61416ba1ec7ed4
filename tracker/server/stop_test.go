package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestShutdownAnswersWhatWasAsked has a request that is being answered, one connection that
// is idle in each loop, and one that the WebSocket front has taken, when the server stops.
func TestShutdownAnswersWhatWasAsked(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	var taken net.Conn
	s := start(t, Config{
		PeerJS: func(*Server) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(asked)
				<-answer
				fmt.Fprint(w, "late, but here")
			})
		},
		WebSocket: func(*Server) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				taken, _, _ = w.(http.Hijacker).Hijack()
				fmt.Fprint(taken, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			})
		},
	})
	a := "GET " + announceURL("", hash(1), id(1), "&port=1") + " HTTP/1.1\r\nHost: x\r\n\r\n"
	var idle []net.Conn
	for _, request := range []string{"", a, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"} {
		c := dial(t, s.tcp)
		c.SetDeadline(time.Now().Add(20 * time.Second))
		if request != "" {
			fmt.Fprint(c, request)
			if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		idle = append(idle, c)
	}
	late := dial(t, s.tcp)
	late.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(late, "GET /peerjs HTTP/1.1\r\nHost: x\r\n\r\n")
	<-asked
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	eventually(t, "no further connections", func() bool {
		c, err := net.Dial("tcp", s.tcp)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	for _, c := range idle[:3] {
		if rest, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("an idle connection: %q, %v", rest, err)
		}
	}
	select {
	case err := <-done:
		t.Fatal("stopped before the answer:", err)
	default:
	}
	close(answer)
	if all, err := io.ReadAll(late); err != nil || !strings.HasSuffix(string(all), "late, but here") {
		t.Errorf("%q, %v", all, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := taken.Write([]byte("x")); err == nil {
		t.Error("the WebSocket's connection is still open")
	}
}

func TestShutdownEndsInTime(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s.tcp)
	fmt.Fprint(c, "POST /announce HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
	eventually(t, "a connection", func() bool { return s.conns.open() == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_ = s.Shutdown(ctx) // the request may be answered, without its body, in time
	if n := s.conns.open(); n != 0 {
		t.Errorf("%d connections are open", n)
	}
}
