package cluster

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/causeway-bt/causeway/tracker/server/table"
)

// writer is a sink that writes all entries again.
type writer struct{ b []byte }

func (w *writer) announce(id uint32, a *table.Announce)  { w.b = appendAnnounce(w.b, id, a) }
func (w *writer) announced(id uint32, r *table.Reply)    { w.b = appendAnnounced(w.b, id, r) }
func (w *writer) web(id uint32, a *table.WebAnnounce)    { w.b = appendWeb(w.b, id, a) }
func (w *writer) answer(id uint32, a *table.Answer)      { w.b = appendAnswer(w.b, id, a) }
func (w *writer) answered(id uint32, to place)           { w.b = appendAnswered(w.b, id, to) }
func (w *writer) scrape(id uint32, h table.Hash)         { w.b = appendScrape(w.b, id, &h) }
func (w *writer) scraped(id uint32, counts table.Counts) { w.b = appendScraped(w.b, id, counts) }
func (w *writer) refused(id uint32, err error)           { w.b = appendRefused(w.b, id, err) }
func (w *writer) send(socket uint64, message []byte)     { w.b = appendSend(w.b, socket, message) }
func (w *writer) probe(socket uint64)                    { w.b = appendProbe(w.b, socket) }
func (w *writer) webDone(id uint32, c table.Counts, gave []given) {
	w.b = appendWebDone(w.b, id, c, gave)
}
func (w *writer) leave(h table.Hash, id table.ID, socket uint64) {
	w.b = appendLeave(w.b, &h, &id, socket)
}

// samples are entries of all kinds.
func samples() [][]byte {
	h, id := twenty("hash of a torrent"), twenty("id of a peer")
	counts := table.Counts{Complete: 1, Incomplete: 300, Downloaded: 70_000, Downloaders: 2}
	v4, v6 := peer(h, "v4", "192.0.2.1:6881", table.Seed), peer(h, "v6", "[2001:db8::1]:80", table.Partial)
	v6.Both, v6.Event, v6.NumWant = true, table.Completed, maxNumWant
	web := webPeer(h, "web", maxSocketNum, "offer 1", "offer 2")
	web6 := webPeer(h, "web", 1)
	web6.Host = netip.MustParseAddr("2001:db8::2")
	web6.Owner = true
	at := place{key: 1 << 63, socket: 77}
	return [][]byte{
		appendAnnounce(nil, 1, &v4),
		appendAnnounce(nil, 1<<32-1, &v6),
		appendAnnounced(nil, 2, &table.Reply{Counts: counts, Peers4: make([]byte, 12), Peers6: make([]byte, 18)}),
		appendWeb(nil, 3, &web),
		appendWeb(nil, 4, &web6),
		appendWebDone(nil, 5, counts, []given{{1, at, id}, {0, at, h}}),
		appendAnswer(nil, 6, &table.Answer{Hash: h, From: id, Socket: 5, To: h, Offer: twenty("offer")}),
		appendAnswered(nil, 7, at),
		appendScrape(nil, 8, &h),
		appendScraped(nil, 9, counts),
		appendRefused(nil, 10, table.ErrIDTaken),
		appendRefused(nil, 11, &table.Refusal{Text: "some other text", RetryIn: table.Never}),
		appendRefused(nil, 12, &table.Refusal{Text: "some other text", RetryIn: time.Hour}),
		appendRefused(nil, 13, errors.New("not for peers to read")),
		appendLeave(nil, &h, &id, 9),
		appendProbe(nil, 11),
		appendSend(nil, 10, []byte(`{"offer":{}}`)),
	}
}

func TestEntriesAreReadAsTheyAreWritten(t *testing.T) {
	for _, entry := range samples() {
		var w writer
		if err := new(parser).entries(entry, &w); err != nil || !bytes.Equal(w.b, entry) {
			t.Errorf("kind %d: %v\n got %x\nwant %x", entry[0], err, w.b, entry)
		}
		for n := 1; n < len(entry); n++ {
			if err := new(parser).entries(entry[:n], new(writer)); err == nil {
				t.Errorf("kind %d: cut after %d of %d bytes, and read", entry[0], n, len(entry))
			}
		}
	}
	var w writer
	all := bytes.Join(samples(), nil)
	if err := new(parser).entries(all, &w); err != nil || !bytes.Equal(w.b, all) {
		t.Errorf("all of them: %v", err)
	}
}

func TestRefusalsKeepWhatTheyAre(t *testing.T) {
	for _, want := range []error{
		table.ErrIDTaken, table.ErrAddress, table.ErrTooManyOffers,
		&table.Refusal{Text: "text", RetryIn: table.Never}, &table.Refusal{Text: "text", RetryIn: 90 * time.Second}, &table.Refusal{Text: "text"},
	} {
		b := appendRefused(nil, 1, want)
		c := cursor{b: b[5:]}
		if got := c.refusal(); c.bad || !reflect.DeepEqual(got, want) {
			t.Errorf("got %#v, want %#v", got, want)
		}
	}
	long := &table.Refusal{Text: strings.Repeat("x", 1000)}
	if b := appendRefused(nil, 1, long); len(b) > maxRefusal+20 {
		t.Errorf("%d bytes", len(b))
	}
	if b := appendRefused(nil, 1, errors.New("a secret of this machine")); bytes.Contains(b, []byte("secret")) {
		t.Errorf("an error that is not for peers is told: %q", b)
	}
}

func TestHeartbeatsAreReadAsTheyAreWritten(t *testing.T) {
	for _, want := range []heartbeat{
		{identity: identity{"a", 1}, uptime: 1, every: time.Second},
		{identity: identity{strings.Repeat("n", maxName), 1<<64 - 1}, leaving: true, uptime: 1<<64 - 1, every: time.Minute},
		{identity: identity{"node-1.example_net", 7}, hello: true},
	} {
		b := appendHeartbeat(nil, want)
		if got, err := parseHeartbeat(b); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		for n := range b {
			if _, err := parseHeartbeat(b[:n]); err == nil {
				t.Errorf("cut after %d of %d bytes, and read", n, len(b))
			}
		}
		if _, err := parseHeartbeat(append(b, 0)); err == nil {
			t.Error("read with a byte too many")
		}
	}
	for name, b := range map[string][]byte{
		"another version": append([]byte{wireVersion + 1}, appendHeartbeat(nil, heartbeat{identity: identity{name: "a"}})[1:]...),
		"no name":         appendHeartbeat(nil, heartbeat{}),
		"a bad name":      appendHeartbeat(nil, heartbeat{identity: identity{name: "a.>"}}),
		"a long name":     appendHeartbeat(nil, heartbeat{identity: identity{name: strings.Repeat("n", maxName+1)}}),
	} {
		if _, err := parseHeartbeat(b); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

// What is read can be written, and is then read as the same.
func FuzzBatch(f *testing.F) {
	for _, entry := range samples() {
		f.Add(entry)
	}
	f.Add(bytes.Join(samples(), nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second writer
		whole := new(parser).entries(b, &first) == nil
		if len(first.b) > len(b)+64 {
			t.Fatalf("%d bytes became %d", len(b), len(first.b))
		}
		if err := new(parser).entries(first.b, &second); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if !bytes.Equal(first.b, second.b) {
			t.Fatalf("read (%v) and written again:\n%x\n%x", whole, first.b, second.b)
		}
	})
}

func FuzzHeartbeat(f *testing.F) {
	f.Add(appendHeartbeat(nil, heartbeat{identity: identity{"a", 1}, leaving: true, hello: true, uptime: 1, every: time.Second}))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeartbeat(b)
		if err != nil {
			return
		}
		if again, err := parseHeartbeat(appendHeartbeat(nil, h)); err != nil || again.identity != h.identity || again.uptime != h.uptime {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}
