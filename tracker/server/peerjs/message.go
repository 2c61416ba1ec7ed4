package peerjs

import (
	"encoding/json"
	"errors"
	"fmt"
)

// message is what clients send each other. The payload is passed on as it is.
type message struct {
	kind    string
	to      string
	payload json.RawMessage // nil where there is none
}

var errMessage = errors.New("peerjs: not a message")

// parse reads a message. Other members than type, dst and payload are ignored, as peer
// does; src is for the server to say.
func parse(text []byte) (message, error) {
	var in struct {
		Type    string          `json:"type"`
		Dst     *string         `json:"dst"`
		Payload json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return message{}, fmt.Errorf("%w: %w", errMessage, err)
	}
	m := message{kind: in.Type, payload: in.Payload}
	if in.Dst != nil {
		m.to = *in.Dst
	}
	return m, nil
}

// isRelayed says whether a message is for another client, as against HEARTBEAT and what
// nobody knows.
func (m *message) isRelayed() bool {
	switch m.kind {
	case "OFFER", "ANSWER", "CANDIDATE", "LEAVE", "EXPIRE":
		return true
	}
	return false
}

// appendTo appends a message as its receiver gets it.
func (m *message) appendTo(b []byte, from string) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, m.kind...) // one of isRelayed
	b = append(b, `","src":`...)
	b = appendString(b, from)
	b = append(b, `,"dst":`...)
	b = appendString(b, m.to)
	if m.payload != nil {
		b = append(b, `,"payload":`...)
		b = append(b, m.payload...)
	}
	return append(b, '}')
}

// appendExpire appends what says to a client that nobody came with a name.
func appendExpire(b []byte, name, to string) []byte {
	m := message{kind: "EXPIRE", to: to}
	return m.appendTo(b, name)
}

func appendError(b []byte, text string) []byte {
	b = append(b, `{"type":"ERROR","payload":{"msg":`...)
	b = appendString(b, text)
	return append(b, '}', '}')
}

func appendString(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...) // strings do not fail
	}
	return append(b, q...)
}
