package ws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/coder/websocket"

	"github.com/causeway-bt/causeway/tracker/internal/reach"
)

// maxMessage bounds a tracker's message in bytes: a description of 64 KiB, escaped
// as JSON, and what goes with it.
const maxMessage = 160 << 10

// webSocket is a coder/websocket connection as a Conn.
type webSocket struct {
	*websocket.Conn
	remote netip.Addr // zero behind a proxy
}

// Remote is the tracker's address, as it is judged which others it may name.
func (c webSocket) Remote() netip.Addr { return c.remote }

func (m *Manager) dial(ctx context.Context, url string) (Conn, error) {
	header := http.Header{}
	if m.config.UserAgent != "" {
		header.Set("User-Agent", m.config.UserAgent)
	}
	visit := reach.NewVisit(ctx, m.config.Network, m.config.Logger, "tcp")
	defer visit.Close()
	conn, res, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient: visit.Client(), HTTPHeader: header,
	})
	if err != nil {
		return nil, inWords(res, err)
	}
	conn.SetReadLimit(maxMessage)
	return webSocket{conn, visit.Speaker()}, nil
}

// inWords says what kept a connection from being made, or ended it. res is what a
// server answered that is no WebSocket tracker.
func inWords(res *http.Response, err error) error {
	var closed websocket.CloseError
	switch {
	case res != nil && res.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("there is no WebSocket tracker: HTTP status %s", reach.Words(res.Status))
	case strings.Contains(err.Error(), "WebSocket protocol violation"):
		return errors.New("there is no WebSocket tracker: the answer is not that of one")
	case errors.Is(err, websocket.ErrMessageTooBig):
		return fmt.Errorf("a message is larger than %d bytes", maxMessage)
	case errors.As(err, &closed) && closed.Reason != "":
		return fmt.Errorf("the tracker closed the connection: %s", reach.Words(closed.Reason))
	case errors.As(err, &closed):
		return fmt.Errorf("the tracker closed the connection (%s)", strings.TrimPrefix(closed.Code.String(), "Status"))
	}
	return reach.Explain(err)
}

func (c webSocket) Read(ctx context.Context) ([]byte, error) {
	_, b, err := c.Conn.Read(ctx)
	if err != nil {
		return nil, inWords(nil, err)
	}
	return b, nil
}

func (c webSocket) Write(ctx context.Context, b []byte) error {
	return c.Conn.Write(ctx, websocket.MessageText, b)
}

// Close does not wait for the tracker to say goodbye too.
func (c webSocket) Close() error { return c.CloseNow() }
