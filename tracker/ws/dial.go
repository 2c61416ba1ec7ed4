package ws

import (
	"context"
	"net/http"

	"github.com/coder/websocket"
)

// maxMessage bounds a tracker's message in bytes: a description of 64 KiB, escaped
// as JSON, and what goes with it.
const maxMessage = 160 << 10

// webSocket is a coder/websocket connection as a Conn.
type webSocket struct{ *websocket.Conn }

func (m *Manager) dial(ctx context.Context, url string) (Conn, error) {
	header := http.Header{}
	if m.config.UserAgent != "" {
		header.Set("User-Agent", m.config.UserAgent)
	}
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient: m.config.HTTPClient, HTTPHeader: header,
	})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(maxMessage)
	return webSocket{conn}, nil
}

func (c webSocket) Read(ctx context.Context) ([]byte, error) {
	_, b, err := c.Conn.Read(ctx)
	return b, err
}

func (c webSocket) Write(ctx context.Context, b []byte) error {
	return c.Conn.Write(ctx, websocket.MessageText, b)
}

// Close does not wait for the tracker to say goodbye too.
func (c webSocket) Close() error { return c.CloseNow() }
