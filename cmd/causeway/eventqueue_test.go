package main

import (
	"sync"
	"testing"

	"github.com/causeway-bt/causeway/client"
)

func TestNoEventIsLostAndTheLatestCounts(t *testing.T) {
	const torrents, rounds = 600, 50
	q := newEventQueue()
	var engine sync.WaitGroup
	for i := range torrents {
		infoHash := [20]byte{byte(i), byte(i >> 8)}
		engine.Go(func() {
			q.put(client.WarningEvent{InfoHash: infoHash, Message: "one"})
			q.put(client.WarningEvent{InfoHash: infoHash, Message: "another"})
			for n := range rounds {
				last := n == rounds-1
				for _, url := range []string{"ws://a", "ws://b"} {
					q.put(client.TrackerEvent{InfoHash: infoHash, URL: url, OK: last, Seeds: n})
				}
				q.put(client.CheckingEvent{InfoHash: infoHash, Checked: int64(n)})
				q.put(client.NoBrowserEvent{InfoHash: infoHash, Reason: map[bool]string{true: "last"}[last]})
			}
		})
	}
	engine.Wait() // nobody takes any meanwhile
	<-q.ready
	kinds := map[string]int{}
	for _, event := range q.take() {
		switch e := event.(type) {
		case client.WarningEvent:
			kinds["warning"]++
		case client.TrackerEvent:
			kinds["tracker"]++
			if !e.OK || e.Seeds != rounds-1 {
				t.Errorf("not the latest: %+v", e)
			}
		case client.CheckingEvent:
			kinds["checking"]++
			if e.Checked != rounds-1 {
				t.Errorf("not the latest: %+v", e)
			}
		case client.NoBrowserEvent:
			kinds["no browser"]++
			if e.Reason != "last" {
				t.Errorf("not the latest: %+v", e)
			}
		}
	}
	for kind, want := range map[string]int{"warning": 2 * torrents, "tracker": 2 * torrents, "checking": torrents, "no browser": torrents} {
		if kinds[kind] != want {
			t.Errorf("%d events %q, want %d", kinds[kind], kind, want)
		}
	}
	if left := q.take(); len(left) != 0 {
		t.Errorf("%d events were left", len(left))
	}
}
