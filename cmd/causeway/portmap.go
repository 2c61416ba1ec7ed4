package main

import (
	"fmt"

	"github.com/causeway-bt/causeway/client/portmap"
)

// portMapEvent says what the gateway does for us.
type portMapEvent struct {
	State    string `json:"state"` // "ok", "lost" or "error"
	Protocol string `json:"protocol"`
	Gateway  string `json:"gateway"`
	External string `json:"external,omitempty"` // host:port
	Internal string `json:"internal"`
	Lease    int64  `json:"lease"` // seconds; 0: until it is removed
	Message  string `json:"message,omitempty"`
}

func newPortMapEvent(s portmap.Status) portMapEvent {
	event := portMapEvent{
		State: string(s.State), Protocol: string(s.Protocol), Gateway: s.Gateway.String(),
		Internal: s.Internal.String(), Lease: int64(s.Lease.Seconds()),
	}
	if s.External.IsValid() {
		event.External = s.External.String()
	}
	if s.Err != nil {
		event.Message = s.Err.Error()
	}
	return event
}

// portMapWords says the same to people.
func portMapWords(s portmap.Status) string {
	switch s.State {
	case portmap.OK:
		lease := "until it is removed"
		if s.Lease > 0 {
			lease = "renewed each " + formatDuration(s.Lease/2)
		}
		return fmt.Sprintf("the gateway %v passes %v on to port %d (%s, %s)", s.Gateway, s.External, s.Internal.Port(), s.Protocol, lease)
	case portmap.Lost:
		return fmt.Sprintf("the gateway %v does not pass port %d on any more: %v", s.Gateway, s.External.Port(), s.Err)
	}
	return s.Err.Error()
}
