package client

import (
	"errors"
	"fmt"
	"slices"

	"github.com/causeway-bt/causeway/client/allot"
	"github.com/causeway-bt/causeway/wire"
)

// early is what a peer said of its pieces before we could use it: before the metadata
// was there, or the files were checked. What all peers say takes from one budget.
type early struct {
	all      bool
	bitfield []byte
	haves    []uint32
	taken    int64 // bytes of the budget
	lost     bool  // there was no room for it
}

// maxEarlyHaves bounds early.haves.
const maxEarlyHaves = 1 << 16

// haveSize is how many bytes one of early.haves takes.
const haveSize = 4

// known reports whether the peer said anything.
func (e *early) known() bool { return e.all || e.lost || e.bitfield != nil || len(e.haves) > 0 }

func (e *early) add(m *wire.Message, budget *allot.Budget) error {
	switch m.ID {
	case wire.Have:
		if len(e.haves) >= maxEarlyHaves {
			return fmt.Errorf("it sent more than %d pieces before the metadata was there", maxEarlyHaves)
		}
		if !e.lost && e.take(haveSize, budget) {
			e.haves = append(e.haves, m.Index)
		}
	case wire.BitfieldID:
		e.drop(budget)
		if len(m.Payload) == 0 {
			e.lost = true // there was no memory to read it
		} else if e.take(int64(len(m.Payload)), budget) {
			e.bitfield = m.Payload
		}
	case wire.HaveAll:
		e.drop(budget)
		e.all = true
	case wire.HaveNone:
		e.drop(budget)
	}
	return nil
}

// take takes from the budget. When that is used up, the peer is asked again once its
// word is of use.
func (e *early) take(n int64, budget *allot.Budget) bool {
	if !budget.Take(n) {
		e.drop(budget)
		e.lost = true
		return false
	}
	e.taken += n
	return true
}

// drop forgets all that was said.
func (e *early) drop(budget *allot.Budget) {
	budget.Release(e.taken)
	*e = early{}
}

// errLost ends a connection to a peer whose word on its pieces was not kept: it will
// tell again when it is connected again.
var errLost = errors.New("what it has could not be remembered; it is asked again")

// replay hands what a peer said early to the picker.
func (t *Torrent) replay(p *peer) error {
	e := p.early
	p.early = early{}
	defer t.client.early.Release(e.taken)
	if e.lost {
		return errLost
	}
	var ms []wire.Message
	if e.all {
		ms = append(ms, wire.Message{ID: wire.HaveAll})
	}
	if e.bitfield != nil {
		ms = append(ms, wire.Message{ID: wire.BitfieldID, Payload: e.bitfield})
	}
	slices.Sort(e.haves)
	for _, i := range slices.Compact(e.haves) {
		ms = append(ms, wire.Message{ID: wire.Have, Index: i})
	}
	for i := range ms {
		if err := t.peerHas(p, &ms[i]); err != nil {
			return err
		}
	}
	return nil
}

// maxLateHaves bounds the pieces that a peer which came before the files were checked
// is told of one by one; beyond, it had better connect anew and get a bitfield, which
// must come first (BEP 3).
const maxLateHaves = 10000

var errLate = errors.New("it came before the files were checked; the next time it is told what we have")

// tellPeers brings the peers that came before the files were checked up to date.
func (t *Torrent) tellPeers() {
	l := &t.loop
	verified := l.content.Verified()
	haves := verified.Count()
	for p := range l.peers {
		l.content.Picker.AddPeer(&p.Pick)
		if haves > maxLateHaves {
			t.drop(p, errLate)
			continue
		}
		for i := range verified.Len() {
			if verified.Has(i) {
				p.w.Send(wire.Message{ID: wire.Have, Index: uint32(i)})
			}
		}
		if err := t.replay(p); err != nil {
			t.drop(p, err)
		}
	}
	t.fillSlots()
}
