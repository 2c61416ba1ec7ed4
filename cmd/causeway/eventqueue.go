package main

import (
	"sync"

	"github.com/causeway-bt/causeway/client"
)

// eventQueue holds what the engine has said until it is shown. The engine must not
// wait for a slow terminal, and nothing that a user has to know may be lost; so of
// all events about one subject the latest is kept, and there are no more of them
// than subjects: trackers of torrents, torrents, different warnings.
type eventQueue struct {
	ready chan struct{} // holds one while there are events

	mu       sync.Mutex
	subjects []client.Event // in the order they came up
	latest   map[client.Event]client.Event
}

func newEventQueue() *eventQueue {
	return &eventQueue{ready: make(chan struct{}, 1), latest: make(map[client.Event]client.Event)}
}

// subject is what an event is about: the event itself without what may change.
func subject(event client.Event) client.Event {
	switch e := event.(type) {
	case client.TrackerEvent:
		return client.TrackerEvent{InfoHash: e.InfoHash, URL: e.URL}
	case client.CheckingEvent:
		return client.CheckingEvent{InfoHash: e.InfoHash}
	case client.NoBrowserEvent:
		return client.NoBrowserEvent{InfoHash: e.InfoHash}
	}
	return event
}

// put does not wait.
func (q *eventQueue) put(event client.Event) {
	about := subject(event)
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, waits := q.latest[about]; !waits {
		q.subjects = append(q.subjects, about)
	}
	q.latest[about] = event
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take empties the queue.
func (q *eventQueue) take() []client.Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	events := q.subjects
	for i, about := range events {
		events[i] = q.latest[about]
	}
	q.subjects = nil
	clear(q.latest)
	return events
}
