package table

// Every entry of a swarm has flags. Those of an entry that is no shadow are what
// the swarm's counts are made of. A peer with several entries (IPv4, IPv6, WebSocket)
// under one id has one that counts; the others are shadows of it.

func (s State) flags() byte {
	switch s {
	case Seed:
		return flagSeed
	case Partial:
		return flagPartial
	}
	return 0
}

// enter counts a new entry.
func (w *swarm) enter(flags *byte, s State, shadow bool) {
	*flags = s.flags()
	if shadow {
		*flags |= flagShadow
		w.shadows++
		return
	}
	w.count(*flags, 1)
}

// count adds an entry to the counts of seeds, or (-1) takes it away.
func (w *swarm) count(flags byte, by int32) {
	if flags&flagSeed != 0 {
		w.seeds += uint32(by)
	}
	if flags&flagPartial != 0 {
		w.partial += uint32(by)
	}
}

// setState changes what an entry is.
func (w *swarm) setState(flags *byte, s State) {
	if *flags&flagShadow != 0 {
		*flags = flagShadow | s.flags()
		return
	}
	w.count(*flags, -1)
	*flags = s.flags()
	w.count(*flags, 1)
}

// left takes an entry that is gone out of the counts. If it has a shadow, that counts
// from now on.
func (w *swarm) left(id *ID, flags byte) {
	if flags&flagShadow != 0 {
		w.shadows--
		return
	}
	w.count(flags, -1)
	if w.shadows == 0 {
		return
	}
	if f := w.findID(id, flagShadow); f != nil {
		*f &^= flagShadow
		w.shadows--
		w.count(*f, 1)
	}
}

// renamed gives a classic entry another peer id: a client that was restarted.
func (w *swarm) renamed(k *kind, rec []byte, id *ID) {
	old, flags := ID(k.id(rec)), k.flags(rec)
	shadow := w.hasID(id, k, 0)
	copy(k.id(rec), id[:])
	was := *flags
	w.left(&old, was)
	*flags &^= flagShadow
	if shadow {
		*flags |= flagShadow
		w.shadows++
		return
	}
	w.count(*flags, 1)
}

// hasID says whether a peer id has an entry that counts, other than those of one kind.
// Kind nil is web peers.
func (w *swarm) hasID(id *ID, not *kind, wantFlags byte) bool {
	return (not != kind4 && w.v4.findID(kind4, id, wantFlags) >= 0) ||
		(not != kind6 && w.v6 != nil && w.v6.findID(kind6, id, wantFlags) >= 0) ||
		(not != nil && w.web != nil && w.web.hasID(id, wantFlags))
}

// findID returns the flags of an entry with a peer id that is (flagShadow) or is
// not (0) a shadow; nil if there is none.
func (w *swarm) findID(id *ID, wantFlags byte) *byte {
	if i := w.v4.findID(kind4, id, wantFlags); i >= 0 {
		return kind4.flags(w.v4.at(kind4, i))
	}
	if w.v6 != nil {
		if i := w.v6.findID(kind6, id, wantFlags); i >= 0 {
			return kind6.flags(w.v6.at(kind6, i))
		}
	}
	if w.web != nil {
		if i := w.web.find(id); i >= 0 && w.web.peers[i].flags&flagShadow == wantFlags {
			return &w.web.peers[i].flags
		}
	}
	return nil
}
