package client

import (
	"time"

	"github.com/causeway-bt/causeway/client/portmap"
)

// Event is something that happened: one of the types of this file.
type Event interface{ isEvent() }

// StateEvent says that a torrent has entered another state. Err is why, in StateFailed.
type StateEvent struct {
	InfoHash [20]byte
	State    State
	Err      error
}

// MetadataEvent says that the info dictionary of a magnet link is known.
type MetadataEvent struct{ InfoHash [20]byte }

// SelectionEvent says that other files are wanted than before.
type SelectionEvent struct {
	InfoHash [20]byte
	Selected []bool // by file
}

// LimitsEvent says that the limits of a torrent have changed, or with the zero InfoHash
// those of the client.
type LimitsEvent struct {
	InfoHash [20]byte
	Limits   Limits
}

// MovedEvent says that the files are in another folder.
type MovedEvent struct {
	InfoHash [20]byte
	Dir      string
}

// RemovedEvent says that a torrent is gone from the client, with its data or without.
type RemovedEvent struct {
	InfoHash [20]byte
	Data     bool
}

// TrackerEvent is the outcome of an announce, if it is another than before.
type TrackerEvent struct {
	InfoHash       [20]byte
	URL            string
	OK             bool
	Seeds, Leeches int
	Message        string
	Next           time.Time
}

// CheckingEvent reports how far the files have been checked.
type CheckingEvent struct {
	InfoHash        [20]byte
	Checked, Length int64 // bytes; of what has to be hashed, not of the whole torrent
}

// CompleteEvent says that every wanted file is there.
type CompleteEvent struct {
	InfoHash [20]byte
}

// NoBrowserEvent says why a torrent sees no browser, as far as can be told. It comes
// again when the reason changes.
type NoBrowserEvent struct {
	InfoHash [20]byte
	Reason   string
}

// PortMapEvent says that the gateway passes our port on, or does not any more, or refuses to.
type PortMapEvent struct{ portmap.Status }

// WarningEvent is something that the user may want to know and that does not stop
// the torrent. InfoHash is zero if it concerns the whole client.
type WarningEvent struct {
	InfoHash [20]byte
	Message  string
}

func (StateEvent) isEvent()     {}
func (MetadataEvent) isEvent()  {}
func (SelectionEvent) isEvent() {}
func (LimitsEvent) isEvent()    {}
func (MovedEvent) isEvent()     {}
func (RemovedEvent) isEvent()   {}
func (TrackerEvent) isEvent()   {}
func (CheckingEvent) isEvent()  {}
func (CompleteEvent) isEvent()  {}
func (NoBrowserEvent) isEvent() {}
func (PortMapEvent) isEvent()   {}
func (WarningEvent) isEvent()   {}
