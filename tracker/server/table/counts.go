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

// enter counts a new entry and returns its flags.
func (w *swarm) enter(s State, shadow bool) byte {
	if shadow {
		w.shadows++
		return s.flags() | flagShadow
	}
	w.count(s.flags(), 1)
	return s.flags()
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

// change returns the flags of an entry whose state is now another.
func (w *swarm) change(flags byte, s State) byte {
	if flags&flagShadow != 0 {
		return s.flags() | flagShadow
	}
	w.count(flags, -1)
	w.count(s.flags(), 1)
	return s.flags()
}

// left takes an entry that is gone out of the counts. If it has a shadow, that counts
// from now on.
func (s *shard) left(w *swarm, tag uint32, flags byte) {
	if flags&flagShadow != 0 {
		w.shadows--
		return
	}
	w.count(flags, -1)
	if w.shadows > 0 {
		s.unshadow(w, tag)
	}
}

// unshadow has a peer's shadow count.
func (s *shard) unshadow(w *swarm, tag uint32) {
	var flags byte
	if k, i := s.findTag(w, tag, nil, flagShadow); k != nil {
		rec := s.record(w.family(k), k, i)
		flags = k.flags(rec) &^ flagShadow
		k.setFlags(rec, flags)
	} else if p := s.findWebTag(w, tag, flagShadow); p != nil {
		p.flags &^= flagShadow
		flags = p.flags
	} else {
		return
	}
	w.shadows--
	w.count(flags, 1)
}

// renamed gives a classic entry another peer id: a client that was restarted.
func (s *shard) renamed(w *swarm, k *kind, rec []byte, tag uint32) {
	old, flags := k.tag(rec), k.flags(rec)
	k.setTag(rec, tag)
	s.left(w, old, flags)
	flags &^= flagShadow
	if s.hasTag(w, tag, k) {
		flags |= flagShadow
		w.shadows++
	} else {
		w.count(flags, 1)
	}
	k.setFlags(rec, flags)
}

// hasTag says whether a peer id has an entry that counts, other than those of one kind.
// Kind nil is web peers.
func (s *shard) hasTag(w *swarm, tag uint32, not *kind) bool {
	if k, _ := s.findTag(w, tag, not, 0); k != nil {
		return true
	}
	return not != nil && s.findWebTag(w, tag, 0) != nil
}

// findTag looks for a classic entry of a peer id that is (flagShadow) or is not (0) a
// shadow, and is not of one kind. The kind that it returns is nil if there is none.
func (s *shard) findTag(w *swarm, tag uint32, not *kind, shadow byte) (*kind, int) {
	var room [smallBytes]byte
	for _, k := range [2]*kind{kind4, kind6} {
		f := w.family(k)
		if k == not || f.n == 0 {
			continue
		}
		if i := searchTag(s.records(f, k, &room), k, tag, shadow); i >= 0 {
			return k, i
		}
	}
	return nil, 0
}

// findWebTag is findTag for web peers.
func (s *shard) findWebTag(w *swarm, tag uint32, shadow byte) *webPeer {
	web := s.webOf(w)
	if web == nil {
		return nil
	}
	for i := range web.peers[:min(len(web.peers), tagScan)] {
		if p := &web.peers[i]; p.tag == tag && p.flags&flagShadow == shadow {
			return p
		}
	}
	return nil
}
