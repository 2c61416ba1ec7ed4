// Package cli drives a causeway program from outside, by its command line and its
// JSON lines, as a user's script would. It knows nothing of the program's inside.
//
//	run, err := cli.Start("bin/causeway", "download", magnet, "-o", dir)
//	defer run.Stop()
//	done, err := run.WaitEvent(ctx, "complete")
package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/causeway-bt/causeway/bench/proc"
)

// Event is one JSON line: the union of the fields of all events, in the units of
// the command line's contract (bytes, bytes per second, seconds).
type Event struct {
	Received time.Time `json:"-"` // when this process read the line

	Time        time.Time `json:"time"`
	Event       string    `json:"event"`
	TCP         string    `json:"tcp"`
	UDP         string    `json:"udp"`
	PeerID      string    `json:"peer_id"`
	InfoHash    string    `json:"infohash"`
	Name        string    `json:"name"`
	Magnet      string    `json:"magnet"`
	Length      int64     `json:"length"`
	PieceLength int64     `json:"piece_length"`
	Checked     int64     `json:"checked"`
	Completed   int64     `json:"completed"`
	Wanted      int64     `json:"wanted"`
	Downloaded  int64     `json:"downloaded"`
	Uploaded    int64     `json:"uploaded"`
	Wasted      int64     `json:"wasted"`
	Peers       Peers     `json:"peers"`
	Bridged     Bridged   `json:"bridged"`
	Path        string    `json:"path"`
	Seconds     float64   `json:"seconds"`
	URL         string    `json:"url"`
	State       string    `json:"state"`
	Seeds       int       `json:"seeds"`
	Leeches     int       `json:"leeches"`
	Message     string    `json:"message"`
	Files       []File    `json:"files"`
	WebRTC      bool      `json:"webrtc"`      // of "received"
	Passthrough bool      `json:"passthrough"` // of "mounted"
	Protocol    string    `json:"protocol"`    // of "portmap"
	External    string    `json:"external"`
}

// Peers counts connections by transport.
type Peers struct {
	TCP     int `json:"tcp"`
	UTP     int `json:"utp"`
	WebRTC  int `json:"webrtc"`
	WebSeed int `json:"webseed"`
}

// Bridged counts bytes that came from one swarm and were sent to the other.
type Bridged struct {
	ToWeb     int64 `json:"to_web"`
	ToClassic int64 `json:"to_classic"`
}

// File is one file of a "torrent" event.
type File struct {
	Index    int    `json:"index"`
	Path     string `json:"path"`
	Length   int64  `json:"length"`
	Selected bool   `json:"selected"`
}

// Run is a running causeway.
type Run struct {
	*proc.Process
	events proc.Journal[Event]
}

// Isolated is the environment that keeps a run on this machine in what its flags do
// not say.
var Isolated = []string{"CAUSEWAY_NO_PORTMAP=true", "CAUSEWAY_NO_WEBRTC=true", "CAUSEWAY_NO_LSD=true"}

// Start runs the program at bin, isolated, with --json added to args.
func Start(bin string, args ...string) (*Run, error) {
	return StartSpec(proc.Spec{Path: bin, Args: append(args[:len(args):len(args)], "--json"), Env: Isolated})
}

// StartSpec runs a program of which the caller chose everything but OnLine. Unless Env says
// CAUSEWAY_NO_PORTMAP=false, it leaves the gateway of this machine alone.
func StartSpec(s proc.Spec) (*Run, error) {
	r := &Run{}
	s.Env = append([]string{"CAUSEWAY_NO_PORTMAP=true"}, s.Env...)
	s.OnLine = r.line
	p, err := proc.Start(s)
	if err != nil {
		return nil, err
	}
	r.Process = p
	go func() {
		<-p.Done()
		r.events.Close()
	}()
	return r, nil
}

func (r *Run) line(b []byte) {
	e := Event{Received: time.Now()}
	if err := json.Unmarshal(b, &e); err != nil {
		e.Event = "not JSON" // kept, so that a test can see that the contract was broken
		e.Message = fmt.Sprintf("%v in %q", err, b)
	}
	r.events.Add(e)
}

// Events returns the events so far.
func (r *Run) Events() []Event { return r.events.All() }

// Last returns the newest event of that name, and whether there was one.
func (r *Run) Last(name string) (Event, bool) {
	all := r.events.All()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Event == name {
			return all[i], true
		}
	}
	return Event{}, false
}

// WaitEvent returns the first event of that name.
func (r *Run) WaitEvent(ctx context.Context, name string) (Event, error) {
	return r.WaitFor(ctx, "event "+name, func(e Event) bool { return e.Event == name })
}

// WaitFor returns the first event for which match is true; what names it in errors.
func (r *Run) WaitFor(ctx context.Context, what string, match func(Event) bool) (Event, error) {
	e, err := r.events.Wait(ctx, what, match)
	if err != nil {
		return e, fmt.Errorf("%w\n%s", err, r.Output())
	}
	return e, nil
}
