package peerjs

import (
	"net/http"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/websocket/socket"
)

// client is a socket that has a name. What it says before it has one, and after it lost it,
// is ignored.
type client struct {
	server *Server
	conn   *socket.Conn
	name   string
	token  string
	heard  time.Time // guarded by Server.mu
	from   int       // messages of it that wait; likewise
}

// refused is the handler of a socket that is told why it gets no name.
type refused struct{}

func (refused) Message(*socket.Batch, []byte) {}
func (refused) Closed(*socket.Batch)          {}

// What a client is told that gets no name; the texts are those of peer.
const (
	openMessage  = `{"type":"OPEN"}`
	takenMessage = `{"type":"ID-TAKEN","payload":{"msg":"ID is taken"}}`

	errParameters = "No id, token, or key supplied to websocket server"
	errKey        = "Invalid key provided"
	errFull       = "Server has reached its concurrent user limit"
)

// open has a socket come with the name of its request.
func (s *Server) open(c *socket.Conn, r *http.Request) socket.Handler {
	query := r.URL.Query()
	name, token, key := query.Get("id"), query.Get("token"), query.Get("key")
	switch {
	case name == "" || token == "" || key == "" || len(name) > maxName || len(token) > maxToken:
		return refuse(c, appendError(nil, errParameters))
	case key != s.config.Key:
		return refuse(c, appendError(nil, errKey))
	}
	me := &client{server: s, conn: c, name: name, token: token, heard: time.Now()}
	s.mu.Lock()
	old := s.clients[name]
	switch {
	case old != nil && old.token != token:
		s.stats.Taken++
		s.mu.Unlock()
		return refuse(c, []byte(takenMessage))
	case old == nil && len(s.clients) >= s.config.MaxClients:
		s.mu.Unlock()
		return refuse(c, appendError(nil, errFull))
	}
	s.clients[name] = me
	// peer says OPEN only the first time; a client that connects again waits for it as well.
	// It is said under the lock, before anything that others send.
	c.Send(nil, []byte(openMessage))
	for _, m := range s.waiting.take(name) {
		s.stats.Passed++
		c.Send(nil, m.text)
	}
	s.mu.Unlock()
	if old != nil {
		old.conn.Close(socket.CloseNormal, "this id is used by a new connection")
	}
	return me
}

func refuse(c *socket.Conn, message []byte) socket.Handler {
	c.Send(nil, message)
	c.Close(socket.CloseNormal, "")
	return refused{}
}

// Closed gives the name up, unless a newer socket has it.
func (c *client) Closed(*socket.Batch) {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[c.name] == c {
		delete(s.clients, c.name)
	}
}

// Message passes a message on.
func (c *client) Message(b *socket.Batch, text []byte) {
	s := c.server
	m, err := parse(text)
	if err != nil {
		return // as peer does
	}
	s.mu.Lock()
	if s.clients[c.name] != c {
		s.mu.Unlock()
		return
	}
	c.heard = time.Now()
	var to *socket.Conn
	var out []byte
	switch {
	case !m.isRelayed():
	case m.kind == "LEAVE" && m.to == "":
		delete(s.clients, c.name)
	case s.clients[m.to] != nil:
		to = s.clients[m.to].conn
		out = m.appendTo(nil, c.name)
		s.stats.Passed++
	case m.to != "" && m.kind != "LEAVE" && m.kind != "EXPIRE" && len(m.to) <= maxName:
		if !s.waiting.add(c, m.to, m.appendTo(nil, c.name)) {
			s.stats.Expired++
			to, out = c.conn, appendExpire(nil, m.to, c.name)
		}
	}
	s.mu.Unlock()
	if to != nil {
		to.Send(b, out)
	}
}

// dropSilent closes the sockets of clients that have not been heard for too long.
func (s *Server) dropSilent(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, c := range s.clients {
		if now.Sub(c.heard) > s.config.Alive {
			delete(s.clients, name)
			c.conn.Close(socket.ClosePolicy, "no HEARTBEAT came")
		}
	}
}
