package websocket_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	coder "github.com/coder/websocket"

	"github.com/causeway-bt/causeway/tracker/server"
	"github.com/causeway-bt/causeway/tracker/server/websocket"
	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

// A tracker for browsers within a program that has a http.Server.
func Example() {
	sockets := socket.New(socket.Config{MaxConns: 20_000})
	defer sockets.Close()
	tracker, err := server.New(server.Config{WebSocket: func(s *server.Server) http.Handler {
		return websocket.New(websocket.Config{Swarms: s.Swarms(), Sockets: sockets}).Handler(s.RemoteAddr)
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tracker.Close()
	web := httptest.NewServer(tracker)
	defer web.Close()

	ctx := context.Background()
	browser, _, err := coder.Dial(ctx, "ws"+strings.TrimPrefix(web.URL, "http")+"/announce", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer browser.CloseNow()
	const scrape = `{"action":"scrape","info_hash":"a torrent's infohash"}`
	if err := browser.Write(ctx, coder.MessageText, []byte(scrape)); err != nil {
		fmt.Println(err)
		return
	}
	_, reply, err := browser.Read(ctx)
	fmt.Println(string(reply), err)
	// Output: {"action":"scrape","files":{"a torrent's infohash":{"complete":0,"incomplete":0,"downloaded":0}},"flags":{"min_request_interval":600}} <nil>
}
