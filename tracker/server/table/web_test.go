package table

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// web announces a web peer and returns the reply; it must not be refused.
func web(t *testing.T, tab *Table, a WebAnnounce) WebReply {
	t.Helper()
	var r WebReply
	if err := tab.AnnounceWeb(&a, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func webPeerOf(n int) WebAnnounce {
	return WebAnnounce{Hash: hashOf(1), ID: idOf(n), Socket: Handle(n + 1), Host: addr4(n).Addr()}
}

func offersOf(n, of int) (o []OfferID) {
	for i := range n {
		o = append(o, OfferID{0: byte(of), 1: byte(of >> 8), 2: byte(of >> 16), 3: byte(i), 4: byte(i >> 8)})
	}
	return o
}

func TestOffersGoToThoseWhoGotLeast(t *testing.T) {
	for _, n := range []int{8, 60, 500} {
		tab := New(Config{Now: start})
		got := make(map[Handle]int)
		for i := range n {
			web(t, tab, webPeerOf(i))
		}
		const each, rounds = 5, 4
		for round := range rounds {
			for i := range n {
				a := webPeerOf(i)
				a.Offers = offersOf(each, round*n+i)
				r := web(t, tab, a)
				if len(r.Given) != each {
					t.Fatalf("%d of %d offers were given", len(r.Given), each)
				}
				to := make(map[Handle]bool)
				for _, g := range r.Given {
					if g.To == a.Socket || to[g.To] || g.ID != idOf(int(g.To)-1) {
						t.Fatalf("peer %d: %+v", i, r.Given)
					}
					to[g.To] = true
					got[g.To]++
				}
			}
		}
		least, most := slices.MinFunc(ints(got), cmp), slices.MaxFunc(ints(got), cmp)
		// By pure chance with 20 each on average, some of 500 would get below 10 or above 32.
		if len(got) != n || least < each*rounds*3/4 || most > each*rounds*5/4 {
			t.Errorf("of %d peers %d got offers, from %d to %d each; want %d", n, len(got), least, most, each*rounds)
		}
	}
}

func ints(m map[Handle]int) (s []int) {
	for _, v := range m {
		s = append(s, v)
	}
	return s
}

func cmp(a, b int) int { return a - b }

func TestOffersGoToLeechesBeforeSeedsAndNotFromSeedToSeed(t *testing.T) {
	tab := New(Config{Now: start})
	for i := range 10 {
		a := webPeerOf(i)
		if i < 5 {
			a.State = Seed
		}
		web(t, tab, a)
	}
	a := webPeerOf(20)
	a.Offers = offersOf(5, 1)
	for _, g := range web(t, tab, a).Given {
		if g.To <= 5 {
			t.Errorf("a seed was given an offer while leeches had none")
		}
	}
	a.Offers = offersOf(5, 2)
	seeds := 0
	for _, g := range web(t, tab, a).Given {
		if g.To <= 5 {
			seeds++
		}
	}
	if seeds != 5 {
		t.Errorf("%d of 5 further offers went to the seeds, who had none", seeds)
	}
	s := webPeerOf(0)
	s.State, s.Offers = Seed, offersOf(10, 3)
	for _, g := range web(t, tab, s).Given {
		if g.To <= 5 {
			t.Errorf("a seed's offer went to a seed")
		}
	}
}

func TestAnswersOnlyToOffersThatWereGiven(t *testing.T) {
	now := start
	tab := New(Config{Now: now})
	web(t, tab, webPeerOf(1))
	web(t, tab, webPeerOf(2))
	asker := webPeerOf(3)
	asker.Offers = offersOf(1, 3)
	g := web(t, tab, asker).Given[0]
	other := webPeerOf(3 - int(g.To-1)) // the one of the two who was not given it
	given := Answer{Hash: hashOf(1), From: g.ID, Socket: g.To, To: asker.ID, Offer: asker.Offers[0]}
	wrong := []struct {
		name   string
		answer Answer
		want   error
	}{
		{"of one who was not given it", Answer{hashOf(1), other.ID, other.Socket, asker.ID, asker.Offers[0]}, ErrNoOffer},
		{"to another offer", Answer{hashOf(1), g.ID, g.To, asker.ID, OfferID{9}}, ErrNoOffer},
		{"to another peer", Answer{hashOf(1), g.ID, g.To, other.ID, asker.Offers[0]}, ErrNoOffer},
		{"by another socket", Answer{hashOf(1), g.ID, 99, asker.ID, asker.Offers[0]}, ErrNotInSwarm},
		{"in another swarm", Answer{hashOf(2), g.ID, g.To, asker.ID, asker.Offers[0]}, ErrNotInSwarm},
	}
	for _, w := range wrong {
		if to, err := tab.Answer(&w.answer); !errors.Is(err, w.want) {
			t.Errorf("%s: %v, %v", w.name, to, err)
		}
	}
	if to, err := tab.Answer(&given); err != nil || to != asker.Socket {
		t.Fatalf("the answer went to %v, %v; want %v", to, err, asker.Socket)
	}
	if _, err := tab.Answer(&given); !errors.Is(err, ErrNoOffer) {
		t.Errorf("a second answer: %v", err)
	}
	for _, c := range []struct {
		after time.Duration
		want  error
	}{{120 * time.Second, nil}, {121 * time.Second, ErrNoOffer}} {
		a := webPeerOf(1)
		a.Offers = offersOf(2, int(c.after))
		g := web(t, tab, a).Given[0]
		now = now.Add(c.after)
		tab.Tick(now)
		if _, err := tab.Answer(&Answer{hashOf(1), g.ID, g.To, a.ID, a.Offers[g.Offer]}); !errors.Is(err, c.want) {
			t.Errorf("an answer after %v: %v, want %v", c.after, err, c.want)
		}
	}
}

func TestGivenOffersAreBounded(t *testing.T) {
	tab := New(Config{Now: start})
	web(t, tab, webPeerOf(1))
	var last OfferID
	for i := range 1000 {
		a := webPeerOf(2)
		a.Offers = offersOf(1, i)
		last = a.Offers[0]
		web(t, tab, a)
	}
	h := hashOf(1)
	sh, hash := tab.hash(&h)
	w := sh.webOf(sh.lookup(&h, hash))
	id := idOf(1)
	if p := w.peers[w.find(&id)]; len(p.given) > maxGiven || cap(p.given) > 2*maxGiven {
		t.Errorf("%d offers are remembered, in room for %d", len(p.given), cap(p.given))
	}
	if _, err := tab.Answer(&Answer{hashOf(1), idOf(1), 2, idOf(2), last}); err != nil {
		t.Errorf("the newest offer: %v", err)
	}
	many := webPeerOf(2)
	many.Offers = offersOf(10_000, 1)
	if err := tab.AnnounceWeb(&many, &WebReply{}); !errors.Is(err, ErrTooManyOffers) {
		t.Errorf("10,000 offers: %v", err)
	}
}

func TestAPeerIDBelongsToItsSocket(t *testing.T) {
	tab := New(Config{Now: start})
	mine := webPeerOf(1)
	web(t, tab, mine)
	theirs := mine
	theirs.Socket, theirs.Host = 66, addr4(66).Addr()
	if err := tab.AnnounceWeb(&theirs, &WebReply{}); !errors.Is(err, ErrIDTaken) {
		t.Fatalf("another host's use of the id: %v", err)
	}
	theirs.Event = Stopped
	_ = tab.AnnounceWeb(&theirs, &WebReply{})
	tab.LeaveWeb(mine.Hash, mine.ID, 66)
	if tab.Size().PeersWeb != 1 {
		t.Fatal("another socket took the peer out")
	}
	again := mine // which showed that it is the same, before its old socket was missed
	again.Socket, again.Host, again.Owner = 7, addr4(67).Addr(), true
	web(t, tab, again)
	tab.LeaveWeb(mine.Hash, mine.ID, mine.Socket)
	if tab.Size().PeersWeb != 1 {
		t.Fatal("the old socket took the new one's peer out")
	}
	tab.LeaveWeb(mine.Hash, mine.ID, 7)
	if tab.Size() != (Size{}) {
		t.Fatalf("%+v", tab.Size())
	}
}

func TestManyWebPeersComeAndGo(t *testing.T) {
	tab := New(Config{Now: start})
	for range 3 {
		for i := range 300 {
			web(t, tab, webPeerOf(i))
		}
		if c := counts(t, tab, hashOf(1)); c.Incomplete != 300 {
			t.Fatalf("%+v", c)
		}
		for i := range 300 {
			tab.LeaveWeb(hashOf(1), idOf((i*7)%300), Handle((i*7)%300+1))
		}
		if tab.Size() != (Size{}) {
			t.Fatalf("%+v is left", tab.Size())
		}
	}
}
