package picker

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func TestRarestFirst(t *testing.T) {
	tb := lay(4, 1)
	a := tb.join("a", 0, 1, 2, 3)
	tb.join("b", 0, 1, 2)
	tb.join("c", 0, 2)
	tb.join("d", 0)
	got := tb.pick(a, 16)
	expect(t, "picked of a peer with everything", got,
		join(blocks(3, 0, 4), blocks(1, 0, 4), blocks(2, 0, 4), blocks(0, 0, 4)))
	tb.check(t)
}

func TestSparsePeerIsAskedForItsRarest(t *testing.T) {
	tb := lay(1000, 1)
	a := tb.join("a", 17, 500, 999)
	tb.join("b", 17, 999)
	tb.join("c")
	expect(t, "picked", tb.pick(a, 1), blocks(500, 0, 1))
}

func TestSequential(t *testing.T) {
	tb := lay(5, 1)
	tb.SetSequential(true)
	all, some := tb.join("all"), tb.join("some", 2, 4)
	expect(t, "of the seed", tb.pick(all, 6), join(blocks(0, 0, 4), blocks(1, 0, 2)))
	expect(t, "of the other", tb.pick(some, 8), join(blocks(2, 0, 4), blocks(4, 0, 4)))
	expect(t, "then of the seed", tb.pick(all, 6), join(blocks(1, 2, 4), blocks(3, 0, 4)))
	tb.Done(0, false)
	expect(t, "after piece 0 was wrong", tb.pick(all, 1), blocks(0, 0, 1))
}

func TestOwnPiecesComeBeforeNewOnes(t *testing.T) {
	tb := lay(10, 1)
	a, b := tb.join("a"), tb.join("b")
	first := tb.pick(a, 2)[0].Piece
	other := tb.pick(b, 2)[0].Piece
	if first == other {
		t.Fatal("two peers began the same piece")
	}
	expect(t, "of a", tb.pick(a, 2), blocks(first, 2, 4))
	expect(t, "of b", tb.pick(b, 2), blocks(other, 2, 4))
}

func TestPiecesAreSharedWhenNoneIsNew(t *testing.T) {
	tb := lay(2, 1)
	a, b := tb.join("a", 0, 1), tb.join("b", 0, 1)
	first := tb.pick(a, 1)[0].Piece
	expect(t, "of b", tb.pick(b, 8), join(blocks(1-first, 0, 4), blocks(first, 1, 4)))
}

func TestUnwantedPiecesAreLeftAlone(t *testing.T) {
	tb := lay(3, 1)
	a := tb.join("a")
	first := tb.pick(a, 1)[0].Piece
	tb.SetWanted(first, false)
	for _, r := range tb.pick(a, 12) {
		if r.Piece == first {
			t.Errorf("%v was picked of a piece that is not wanted any more", r)
		}
	}
	tb.check(t)
	expect(t, "wanted of a", a.Wanted(), 2)
	tb.Abandon(first)
	tb.SetWanted(first, true)
	expect(t, "wanted again", tb.pick(a, 1), blocks(first, 0, 1))
	tb.check(t)
}

func TestUnwantedPieceDoesNotHoldUpTheEndgame(t *testing.T) {
	tb := lay(2, 1)
	a, b := tb.join("a"), tb.join("b")
	first := tb.pick(a, 1)[0].Piece
	tb.SetWanted(first, false)
	expect(t, "of a", tb.pick(a, 4), blocks(1-first, 0, 4))
	expect(t, "of b", len(tb.pick(b, 4)), endgameQueue)
}

func TestDeadlinesComeFirst(t *testing.T) {
	tb := lay(10, 1)
	a := tb.join("a")
	tb.SetDeadlines(map[int]time.Time{7: tb.now.Add(2 * time.Second), 8: tb.now.Add(time.Second)})
	tb.full = true // deadlines may stretch the memory
	expect(t, "picked", tb.pick(a, 6), join(blocks(8, 0, 4), blocks(7, 0, 2)))
	expect(t, "begun with stretch", tb.stretched, []int{8, 7})
}

func TestTheRestWaitsForDeadlines(t *testing.T) {
	tb := lay(10, 1)
	a, b := tb.join("a"), tb.join("b", 1, 2)
	tb.SetDeadlines(map[int]time.Time{7: tb.now.Add(time.Second)})
	expect(t, "of the one who has it", tb.pick(a, 8), blocks(7, 0, 4))
	expect(t, "of the other", tb.pick(b, 8), []Request(nil))
	tb.receive(a, blocks(7, 0, 4)...)
	expect(t, "of the other, once it is there", len(tb.pick(b, 8)), 8)
}

func TestDeadlineThatNobodyCanMeetHoldsUpNothing(t *testing.T) {
	tb := lay(10, 1)
	a := tb.join("a", 1, 2)
	tb.SetDeadlines(map[int]time.Time{7: tb.now.Add(time.Second)})
	expect(t, "picked", len(tb.pick(a, 8)), 8)
}

func TestLateBlockOfADeadlineIsAskedTwice(t *testing.T) {
	tb := lay(10, 1)
	peers := []*Peer{tb.join("a"), tb.join("b"), tb.join("c"), tb.join("d")}
	tb.SetDeadlines(map[int]time.Time{7: tb.now.Add(time.Second)})
	expect(t, "before", tb.pick(peers[0], 4), blocks(7, 0, 4))
	expect(t, "of a second, before", tb.pick(peers[1], 4), []Request(nil))
	tb.now = tb.now.Add(2 * time.Second)
	expect(t, "after the deadline", tb.pick(peers[1], 4), blocks(7, 0, 4))
	expect(t, "of a third", tb.pick(peers[2], 4), blocks(7, 0, 4))
	expect(t, "of a fourth", tb.pick(peers[3], 4), []Request(nil))
	expect(t, "to be cancelled", tb.receive(peers[1], Request{7, 0}), []*Peer{peers[0], peers[2]})
	tb.check(t)
}

// While a limit holds us back, a deadline that has passed is nobody's fault; to be slow is.
func TestDeadlineThatALimitMissesIsNoLateness(t *testing.T) {
	tb := lay(10, 1)
	a, b := tb.join("a"), tb.join("b")
	a.Hurry = 5 * time.Second
	tb.SetThrottled(true)
	tb.SetDeadlines(map[int]time.Time{7: tb.now.Add(time.Second)})
	tb.pick(a, 4)
	tb.now = tb.now.Add(2 * time.Second)
	expect(t, "of a second, after the deadline", tb.pick(b, 4), []Request(nil))
	tb.now = tb.now.Add(4 * time.Second)
	expect(t, "of a second, when the first is slow", tb.pick(b, 4), blocks(7, 0, 4))
}

func TestHurryComesBeforeTheDeadline(t *testing.T) {
	tb := lay(10, 1)
	a, b := tb.join("a"), tb.join("b")
	a.Hurry = time.Second
	tb.SetDeadlines(map[int]time.Time{7: tb.now.Add(time.Hour)})
	tb.pick(a, 4)
	expect(t, "of a second in time", tb.pick(b, 4), []Request(nil))
	tb.now = tb.now.Add(time.Second)
	expect(t, "of a second, when the first is slow", tb.pick(b, 4), blocks(7, 0, 4))
}

func TestSuspectPieceComesFromOnePeer(t *testing.T) {
	tb := lay(1, 1)
	a, b := tb.join("a"), tb.join("b")
	tb.pick(a, 4)
	tb.Done(0, false)
	tb.check(t)
	expect(t, "of a", tb.pick(a, 2), blocks(0, 0, 2))
	expect(t, "of b", tb.pick(b, 4), []Request(nil))
	a.Snubbing = true
	expect(t, "of b, when a has gone quiet", tb.pick(b, 2), blocks(0, 2, 4))
}

func TestSuspectPieceIsPassedOn(t *testing.T) {
	for name, leave := range map[string]func(tb *table, a *Peer){
		"choke":     func(tb *table, a *Peer) { tb.Forget(a) },
		"rejection": func(tb *table, a *Peer) { tb.Unask(a, Request{0, 0}); tb.Unask(a, Request{0, 1}) },
		"departure": func(tb *table, a *Peer) { tb.RemovePeer(a) },
		"loss":      func(tb *table, a *Peer) { tb.PeerLost(a, 0); tb.Forget(a) },
	} {
		tb := lay(1, 1)
		a, b := tb.join("a"), tb.join("b")
		tb.pick(a, 4)
		tb.Done(0, false)
		tb.pick(a, 2)
		leave(tb, a)
		if got := tb.pick(b, 4); len(got) != 4 {
			t.Errorf("after the owner's %s, %v was picked of the other", name, got)
		}
		tb.check(t)
	}
}

func TestAbandonedPieceIsNotSuspect(t *testing.T) {
	tb := lay(1, 1)
	a, b := tb.join("a"), tb.join("b")
	tb.pick(a, 4)
	tb.Abandon(0)
	tb.check(t)
	expect(t, "of a", tb.pick(a, 2), blocks(0, 0, 2))
	expect(t, "of b", tb.pick(b, 2), blocks(0, 2, 4))
	tb.Done(0, false)
	tb.pick(a, 1)
	tb.Abandon(0)
	if !tb.suspect[0] {
		t.Error("a piece that was wrong is trusted once it was abandoned")
	}
}

func TestLateBlocksAreAskedOfOthers(t *testing.T) {
	tb := lay(1, 1)
	a, b := tb.join("a"), tb.join("b")
	a.Patience = 3 * time.Second
	tb.pick(a, 4)
	tb.pick(b, 1) // one by the endgame
	tb.now = tb.now.Add(2 * time.Second)
	expect(t, "of b in time", len(tb.pick(b, 4)), endgameQueue-1)
	tb.now = tb.now.Add(2 * time.Second)
	expect(t, "of b when a is late", len(tb.pick(b, 4)), 2)
	tb.check(t)
}

func TestQuietPeerIsLateAtOnce(t *testing.T) {
	tb := lay(2, 1)
	a, b := tb.join("a"), tb.join("b")
	got := tb.pick(a, 8)
	a.Snubbing = true
	if others := tb.pick(b, 8); !sameRequests(got, others) {
		t.Errorf("of b %v, want all that a owes, %v", others, got)
	}
}

// TestSilentPeersDoNotLockABlock: however many take a request and never answer, the
// next one is asked.
func TestSilentPeersDoNotLockABlock(t *testing.T) {
	tb := lay(1, 1)
	for i := range 10 {
		p := tb.join("silent")
		if got := tb.pick(p, 4); len(got) != 4 {
			t.Fatalf("peer %d is asked for %v, want the whole piece", i, got)
		}
		p.Snubbing = true
		tb.now = tb.now.Add(time.Second)
	}
	tb.check(t)
}

func sameRequests(a, b []Request) bool {
	order := func(x, y Request) int { return (x.Piece-y.Piece)*1000 + x.Block - y.Block }
	return slices.Equal(slices.SortedFunc(slices.Values(a), order), slices.SortedFunc(slices.Values(b), order))
}

func TestEndgame(t *testing.T) {
	tb := lay(2, 1)
	a, b, c, d := tb.join("a"), tb.join("b"), tb.join("c"), tb.join("d")
	all := tb.pick(a, 8)
	dup := tb.pick(b, 8)
	expect(t, "duplicates", dup, all[:endgameQueue])
	expect(t, "more for one that owes enough", tb.pick(b, 8), []Request(nil))
	expect(t, "of a third", tb.pick(c, 8), all[endgameQueue:2*endgameQueue])
	tb.check(t)
	expect(t, "to be cancelled", tb.receive(b, dup[0]), []*Peer{a})
	expect(t, "to be cancelled when it comes again", tb.receive(a, dup[0]), []*Peer(nil))
	tb.receive(a, all[1:]...)
	tb.receive(d)
	tb.check(t)
	expect(t, "left", tb.Left(), 0)
	expect(t, "wanted of anybody", a.Wanted()+b.Wanted()+c.Wanted()+d.Wanted(), 0)
	expect(t, "in flight", a.InFlight()+b.InFlight()+c.InFlight(), 0)
}

func TestEndgameThoughNobodyHasAPiece(t *testing.T) {
	tb := lay(2, 1)
	a, b := tb.join("a", 0), tb.join("b", 0)
	tb.pick(a, 4)
	expect(t, "of b", len(tb.pick(b, 4)), endgameQueue)
}

func TestNoEndgameWhileThereIsFreshWork(t *testing.T) {
	tb := lay(2, 1)
	a, b := tb.join("a"), tb.join("b", 0)
	tb.SetSequential(true)
	tb.pick(a, 4)
	expect(t, "of a peer with nothing fresh", tb.pick(b, 4), []Request(nil))
}

func TestMemoryRefused(t *testing.T) {
	tb := lay(4, 1)
	a, b := tb.join("a"), tb.join("b")
	first := tb.pick(a, 2)[0].Piece
	tb.full = true
	expect(t, "of the one who has work", tb.pick(a, 8), blocks(first, 2, 4))
	tb.receive(b)
	got := tb.pick(b, 2)
	if len(tb.stretched) != 1 || len(got) != 2 || got[0].Piece != tb.stretched[0] {
		t.Errorf("an idle peer got %v with %v begun by stretch, want one piece", got, tb.stretched)
	}
	tb.pick(b, 8)
	expect(t, "pieces open", tb.Open(), 2)
	tb.check(t)
}

func TestChokeTakesEverythingBack(t *testing.T) {
	tb := lay(3, 1)
	a, b := tb.join("a"), tb.join("b")
	got := tb.pick(a, 6)
	tb.Forget(a)
	expect(t, "in flight", a.InFlight(), 0)
	tb.check(t)
	if again := tb.pick(b, 12); len(again) != 12 || len(got) != 6 {
		t.Errorf("of the other peer %v, want everything", again)
	}
}

func TestBlockThatComesAfterItsRequestWasTakenBack(t *testing.T) {
	tb := lay(1, 1)
	a, b := tb.join("a"), tb.join("b")
	tb.pick(a, 2)
	tb.Forget(a)
	tb.receive(a, Request{0, 0})
	tb.check(t)
	expect(t, "of b", tb.pick(b, 2), blocks(0, 1, 3))
	expect(t, "to be cancelled", tb.receive(a, Request{0, 1}), []*Peer{b})
	tb.check(t)
}

func TestRejectedBlockIsFreeAgain(t *testing.T) {
	tb := lay(1, 1)
	a := tb.join("a")
	tb.pick(a, 4)
	tb.Unask(a, Request{0, 1})
	tb.Unask(a, Request{0, 1})
	tb.check(t)
	expect(t, "picked", tb.pick(a, 4), blocks(0, 1, 2))
}

func TestPeerLeavesInTheMiddle(t *testing.T) {
	tb := lay(2, 1)
	a, b := tb.join("a"), tb.join("b")
	got := tb.pick(a, 6)
	tb.receive(a, got[0])
	tb.RemovePeer(a)
	tb.check(t)
	if rest := tb.pick(b, 8); len(rest) != 7 {
		t.Errorf("of the one who stays %v, want the 7 other blocks", rest)
	}
	if tb.open[got[0].Piece].owner != b {
		t.Error("the piece was not taken over")
	}
}

func TestPeerLosesAPiece(t *testing.T) {
	tb := lay(3, 1)
	a := tb.join("a")
	if !tb.PeerIsSeed(a) {
		t.Error("a peer with everything is no seed")
	}
	first := tb.pick(a, 1)[0].Piece
	tb.PeerLost(a, first)
	tb.PeerLost(a, first)
	tb.check(t)
	if tb.PeerIsSeed(a) || a.Has(first) || a.Wanted() != 2 {
		t.Errorf("after a loss: seed %v, has it %v, wanted %d", tb.PeerIsSeed(a), a.Has(first), a.Wanted())
	}
	for _, r := range tb.pick(a, 12) {
		if r.Piece == first {
			t.Errorf("%v was asked of a peer that has it no more", r)
		}
	}
	for i := range 3 {
		tb.PeerHas(a, i)
	}
	if !tb.PeerIsSeed(a) {
		t.Error("a peer that has got every piece is no seed")
	}
}

func TestLostPieceIsFetchedAgain(t *testing.T) {
	tb := lay(2, 1)
	a := tb.join("a")
	tb.SetHave(0)
	tb.SetHave(0)
	tb.SetHave(1)
	expect(t, "wanted", a.Wanted(), 0)
	tb.Lost(1)
	tb.Lost(1)
	tb.check(t)
	expect(t, "picked", tb.pick(a, 8), blocks(1, 0, 4))
}

func TestPickFrom(t *testing.T) {
	tb := lay(4, 1)
	a, b := tb.join("a", 1, 2), tb.join("b")
	tb.SetHave(2)
	from := []int{-1, 9, 0, 2, 1}
	expect(t, "of the given pieces", tb.PickFrom(nil, a, 3, from), blocks(1, 0, 3))
	expect(t, "of another peer", tb.PickFrom(nil, b, 3, []int{1, 0}), join(blocks(1, 3, 4), blocks(0, 0, 2)))
	expect(t, "with no room", tb.PickFrom(nil, b, 0, []int{0}), []Request(nil))
	tb.check(t)
}
