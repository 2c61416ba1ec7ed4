package websocket_test

import (
	"reflect"
	"testing"
)

func TestOffersAndAnswersAreRelayed(t *testing.T) {
	tr := start(t, nil)
	hash, alice, bob := named("hash"), named("alice"), named("bob")
	a, b := tr.dial(), tr.dial()
	a.ask(announce(hash, alice, fields{"left": 0})).expect(t, fields{
		"action": "announce", "info_hash": latin(hash), "complete": 1, "incomplete": 0, "interval": 120,
	})
	b.ask(announce(hash, bob, fields{"offers": offers(3)})).expect(t, fields{
		"action": "announce", "info_hash": latin(hash), "complete": 1, "incomplete": 1, "interval": 120,
	})
	offer := a.next()
	sent := offers(3)[0] // one peer gets one of an announce's offers
	offer.expect(t, fields{
		"action": "announce", "info_hash": latin(hash), "peer_id": latin(bob), "offer_id": sent["offer_id"],
	})
	if got, want := offer["offer"], map[string]any(sent["offer"].(fields)); !reflect.DeepEqual(got, want) {
		t.Errorf("the offer is %v; want %v", got, want)
	}

	answer := map[string]any{"type": "answer", "sdp": "v=0\r\n\u2028é"}
	a.send(fields{
		"action": "announce", "info_hash": latin(hash), "peer_id": latin(alice), "to_peer_id": latin(bob),
		"offer_id": offer["offer_id"], "answer": answer,
	})
	got := b.next()
	got.expect(t, fields{
		"action": "announce", "info_hash": latin(hash), "peer_id": latin(alice), "offer_id": offer["offer_id"],
	})
	if !reflect.DeepEqual(got["answer"], any(answer)) {
		t.Errorf("the answer is %v; want %v", got["answer"], answer)
	}
}
