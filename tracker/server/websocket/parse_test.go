package websocket

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// latinOf is bytes as the protocol has them in strings.
func latinOf(b [20]byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// byteID is what a string stands for, by the rules of JavaScript; ok: it is 20 bytes.
func byteID(s string) (id [20]byte, ok bool) {
	runes := []rune(s)
	if len(runes) != 20 {
		return id, false
	}
	for i, r := range runes {
		if r > 0xFF {
			return id, false
		}
		id[i] = byte(r)
	}
	return id, true
}

var seedMessages = []string{
	`{"numwant":5,"uploaded":0,"downloaded":0,"left":null,"event":"started","action":"announce","info_hash":"aaaaaaaaaaaaaaaaaaaa","peer_id":"-WW0300-wURfKDnc8Az5","offers":[{"offer":{"type":"offer","sdp":"v=0\r\n"},"offer_id":"cccccccccccccccccccc"}]}`,
	`{"action":"announce","info_hash":"\u0000\u00ff\"\\\/\b\f\n\r\téÿaaaaaaaa","peer_id":"-WW0300-wURfKDnc8Az5","to_peer_id":"bbbbbbbbbbbbbbbbbbbb","answer":{"type":"answer","sdp":""},"offer_id":"cccccccccccccccccccc","trackerid":"abc"}`,
	`{"action":"scrape","info_hash":["aaaaaaaaaaaaaaaaaaaa","bbbbbbbbbbbbbbbbbbbb"]}`,
	`{"action":"scrape"}`, `{"action":"announce","left":0e5,"event":"paused"}`,
	`{"\u0061ction":"announce","left":-0.0}`, `[]`, `{}`, `{"a":1,}`, `{"a":01}`, `{"a":1.}`, `{"a":[1,2,{"b":[]}],"c":"\ud800"}`,
	`{"action":"announce","action":"scrape","info_hash":null}`, "{\"a\":\"\x01\"}", `{"a":tru}`, ` { } `, `{} {}`,
	`{"info_hash":"aaaaaaaaaaaaaaaaaaaaĀ"}`, `{"left":"0"}`, `{"offers":[1]}`, `{"offers":{}}`, `{"offers":null}`,
}

// FuzzMessage compares the parser with encoding/json.
func FuzzMessage(f *testing.F) {
	for _, s := range seedMessages {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !utf8.Valid(b) {
			return // package socket lets none in
		}
		var m message
		err := m.parse(b, 5, 5)
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal(b, &want)
		if bytes.Equal(bytes.TrimSpace(b), []byte("null")) || deep(b) {
			return // a map takes null; and what is nested deeper than maxDepth is refused
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v; encoding/json says %v", b, err, wantErr)
		}
		if err != nil {
			return
		}
		compare(t, b, &m, want)
	})
}

// deep says that something may be nested too deep.
func deep(b []byte) bool { return bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) > maxDepth }

// compare looks at what a message became.
func compare(t *testing.T, b []byte, m *message, want map[string]json.RawMessage) {
	t.Helper()
	str := func(key string) (s string, is bool) {
		is = len(want[key]) > 0 && want[key][0] == '"' && json.Unmarshal(want[key], &s) == nil
		return s, is
	}
	word, _ := str("action")
	if (word == "announce") != (m.action == announceAction) || (word == "scrape") != (m.action == scrapeAction) {
		t.Fatalf("%q: the action is %d", b, m.action)
	}
	for key, got := range map[string]struct {
		id  [20]byte
		has bool
	}{"peer_id": {m.peer, m.hasPeer}, "to_peer_id": {m.to, m.hasTo}, "offer_id": {m.offer, m.hasOffer}, "info_hash": {m.hash, m.hasHash}} {
		s, _ := str(key)
		id, has := byteID(s)
		if has != got.has || has && id != got.id {
			t.Fatalf("%q: %s is %q, %v; want %q, %v", b, key, got.id, got.has, id, has)
		}
	}
	var left float64
	isNumber := len(want["left"]) > 0 && strings.ContainsRune("-0123456789", rune(want["left"][0]))
	if isNumber && json.Unmarshal(want["left"], &left) == nil && m.seed != (left == 0) && !underflows(want["left"]) || !isNumber && m.seed {
		t.Fatalf("%q: left is 0: %v", b, m.seed)
	}
	for i := range m.offerings {
		if !json.Valid(m.offerings[i]) || m.offerings[i][0] != '{' {
			t.Fatalf("%q: offer %q", b, m.offerings[i])
		}
	}
	if len(m.offers) != len(m.offerings) || len(m.offers) > 5 || len(m.hashes) > 5 {
		t.Fatalf("%q: %d offers, %d hashes", b, len(m.offers), len(m.hashes))
	}
	if m.answer != nil && !json.Valid(m.answer) {
		t.Fatalf("%q: answer %q", b, m.answer)
	}
	if m.rawHash != nil && !json.Valid(m.rawHash) {
		t.Fatalf("%q: hash %q", b, m.rawHash)
	}
	for _, reply := range [][]byte{
		appendFailure(nil, m.action, m.rawHash, m.problem, 0),
		appendRelayed(nil, &m.hash, &m.peer, &m.offer, "answer", []byte(`{}`)),
	} {
		var v struct {
			Action   *string `json:"action"`
			InfoHash *string `json:"info_hash"`
		}
		if err := json.Unmarshal(reply, &v); err != nil || v.Action == nil || v.InfoHash == nil {
			t.Fatalf("%q: reply %q: %v", b, reply, err)
		}
	}
}

// underflows says that a number reads as 0 only for its size.
func underflows(raw []byte) bool { return strings.ContainsAny(string(raw), "123456789") }

func FuzzID(f *testing.F) {
	f.Add("aaaaaaaaaaaaaaaaaaaa")
	f.Add(`\u0000\u00ff\"\\\/\b\f\n\r\tééééaaaaaa`)
	f.Add("aaaaaaaaaaaaaaaaaaaĀ")
	f.Fuzz(func(t *testing.T, raw string) {
		quoted := []byte(`"` + raw + `"`)
		if !utf8.Valid(quoted) || !json.Valid(quoted) {
			return
		}
		s := scanner{b: quoted}
		got, is, ok := s.idValue()
		var text string
		if err := json.Unmarshal(quoted, &text); err != nil {
			t.Fatal(err) // it is valid: even a lone surrogate is replaced
		}
		want, wantIs := byteID(text)
		if !ok || is != wantIs || is && got != want {
			t.Fatalf("%q: %q %v %v; want %q %v", raw, got, is, ok, want, wantIs)
		}
		if is {
			var back string
			if err := json.Unmarshal(appendID(nil, &got), &back); err != nil || back != text {
				t.Fatalf("%q became %q: %v", text, back, err)
			}
		}
	})
}

func TestEveryByteOfAnIDSurvives(t *testing.T) {
	for c := range 256 {
		var v [20]byte
		for i := range v {
			v[i] = byte(c)
		}
		b, err := json.Marshal(latinOf(v))
		if err != nil {
			t.Fatal(err)
		}
		for _, encoded := range [][]byte{b, appendID(nil, &v)} {
			s := scanner{b: encoded}
			if got, is, ok := s.idValue(); !ok || !is || got != v {
				t.Errorf("%q became %x; want %x", encoded, got, v)
			}
		}
	}
}

func TestWhatAMessageSays(t *testing.T) {
	const begin = `{"action":"announce","info_hash":"aaaaaaaaaaaaaaaaaaaa","peer_id":"bbbbbbbbbbbbbbbbbbbb"`
	for _, c := range []struct {
		json string
		is   func(*message) bool
	}{
		{`,"left":null}`, func(m *message) bool { return !m.seed && m.problem == "" }},
		{`}`, func(m *message) bool { return !m.seed && m.event == table.Update && m.problem == "" }},
		{`,"left":0}`, func(m *message) bool { return m.seed }},
		{`,"left":0.0e9}`, func(m *message) bool { return m.seed }},
		{`,"left":"0"}`, func(m *message) bool { return !m.seed }},
		{`,"left":10}`, func(m *message) bool { return !m.seed }},
		{`,"left":0,"left":7}`, func(m *message) bool { return !m.seed }},
		{`,"event":"stopped"}`, func(m *message) bool { return m.event == table.Stopped }},
		{`,"event":"completed"}`, func(m *message) bool { return m.event == table.Completed }},
		{`,"event":"paused"}`, func(m *message) bool { return m.paused }},
		{`,"event":"empty"}`, func(m *message) bool { return m.event == table.Update && m.problem == "" }},
		{`,"event":""}`, func(m *message) bool { return m.event == table.Update && m.problem == "" }},
		{`,"event":null}`, func(m *message) bool { return m.event == table.Update && m.problem == "" }},
		{`,"event":"leave"}`, func(m *message) bool { return m.problem != "" }},
		{`,"event":7}`, func(m *message) bool { return m.problem != "" }},
		{`,"offers":null}`, func(m *message) bool { return m.problem == "" }},
		{`,"offers":"x"}`, func(m *message) bool { return m.problem != "" }},
		{`,"offers":[{"offer":"sdp","offer_id":"cccccccccccccccccccc"}]}`, func(m *message) bool { return m.problem != "" }},
		{`,"offers":[{"offer":{},"offer_id":"ccc"}]}`, func(m *message) bool { return m.problem != "" }},
		{`,"offers":[{"offer":{"sdp":"` + strings.Repeat("x", maxDescription) + `"},"offer_id":"cccccccccccccccccccc"}]}`,
			func(m *message) bool { return m.problem == "an offer is too long" }},
		{`,"answer":{},"offer_id":"cccccccccccccccccccc"}`, func(m *message) bool { return strings.Contains(m.problem, "to_peer_id") }},
		{`,"answer":7}`, func(m *message) bool { return m.problem != "" }},
		{`,"answer":null}`, func(m *message) bool { return m.problem == "" && m.answer == nil }},
	} {
		var m message
		if err := m.parse([]byte(begin+c.json), 5, 5); err != nil || !c.is(&m) {
			t.Errorf("%s is %+v, %v", c.json, m, err)
		}
	}
}

// Ten thousand offers are read, and all but the first few forgotten.
func TestSurplusOffersAreIgnored(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"action":"announce","info_hash":"aaaaaaaaaaaaaaaaaaaa","peer_id":"bbbbbbbbbbbbbbbbbbbb","offers":[`)
	for i := range 10_000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"offer":{"n":%d},"offer_id":"offer %014d"}`, i, i)
	}
	b.WriteString(`]}`)
	var m message
	if err := m.parse([]byte(b.String()), 7, 5); err != nil || m.problem != "" || len(m.offers) != 7 {
		t.Fatalf("%d offers, %q, %v", len(m.offers), m.problem, err)
	}
	if string(m.offerings[6]) != `{"n":6}` || cap(m.offers) > 16 {
		t.Errorf("the last offer is %q; room for %d", m.offerings[6], cap(m.offers))
	}
}

func TestNestingIsBounded(t *testing.T) {
	var m message
	deep := `{"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`
	if err := m.parse([]byte(deep), 5, 5); err == nil {
		t.Error("a thousand levels were read")
	}
}

func BenchmarkParse(b *testing.B) {
	sdp := strings.Repeat(`a=candidate:1 1 udp 2113937151 192.168.1.1 50000 typ host\r\n`, 12)
	var s strings.Builder
	s.WriteString(`{"numwant":5,"uploaded":0,"downloaded":0,"left":null,"event":"started","action":"announce","info_hash":"aaaaaaaaaaaaaaaaaaaa","peer_id":"-WW0300-wURfKDnc8Az5","offers":[`)
	for i := range 5 {
		if i > 0 {
			s.WriteByte(',')
		}
		fmt.Fprintf(&s, `{"offer":{"type":"offer","sdp":"%s"},"offer_id":"offer %014d"}`, sdp, i)
	}
	s.WriteString("]}")
	text := []byte(s.String())
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var m message
	for b.Loop() {
		if err := m.parse(text, 20, 20); err != nil {
			b.Fatal(err)
		}
	}
}
