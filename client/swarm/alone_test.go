package swarm

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/causeway-bt/causeway/tracker/ws"
)

// alone is a swarm that knows of a browser by one tracker, and cannot reach another.
func alone(t *testing.T) *Web {
	t.Helper()
	w := newTestWeb(t)
	w.handles = append(w.handles, nil) // it has trackers
	t.Cleanup(func() { w.handles = nil })
	w.Status(ws.Status{URL: "ws://there", Seeds: 1, Leeches: 1})
	return w
}

func hasReason(t *testing.T, w *Web, want string) {
	t.Helper()
	if reason := w.whyAlone(); !strings.Contains(reason, want) {
		t.Errorf("alone because %q, want %q", reason, want)
	}
}

// A browser that came and left makes void what kept others away before.
func TestReasonsEndWithABrowser(t *testing.T) {
	w := alone(t)
	hasReason(t, w, "nobody has answered our offers")
	failed, err := w.begin(negotiation{peer: ws.ID{1}})
	if err != nil {
		t.Fatal(err)
	}
	w.end(failed, errors.New("no way through"))
	hasReason(t, w, "could not be made (1); the last: no way through")
	w.Met()
	hasReason(t, w, "have gone")
}

// A page that makes two connections at once drops one of them.
func TestCrossingConnectionIsNoFailure(t *testing.T) {
	w := alone(t)
	theirs, err := w.begin(negotiation{peer: ws.ID{1}})
	if err != nil {
		t.Fatal(err)
	}
	ours, err := w.begin(negotiation{peer: ws.ID{1}, offered: true})
	if err != nil {
		t.Fatal(err)
	}
	w.end(ours, io.EOF)
	hasReason(t, w, "nobody has answered our offers")
	w.end(theirs, io.EOF)
	hasReason(t, w, "could not be made (1)")
}
