package table

// LeaveNode takes out all web peers whose sockets another node holds: it is gone. Node
// is the upper 16 bits of their handles. Others have the table in between.
func (t *Table) LeaveNode(node uint16) {
	for i := range t.shards {
		for next := 0; next >= 0; {
			next = t.leaveNodeSome(&t.shards[i], node, next)
		}
	}
}

// leaveNodeSome goes through swarms as sweepSome does.
func (t *Table) leaveNodeSome(s *shard, node uint16, from int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for looked := 0; looked < sweepHold; from++ {
		if from >= int(s.usedSwarms) {
			return -1
		}
		looked++
		w := s.swarm(uint32(from))
		if s.size(w) == 0 {
			continue // one that is free
		}
		for i := 0; w.web != 0 && i < len(s.webOf(w).peers); looked++ {
			if uint16(s.webOf(w).peers[i].socket>>48) == node {
				t.removeWeb(s, w, i)
				continue
			}
			i++
		}
		if s.size(w) == 0 {
			_, hash := t.hash(&w.hash)
			t.dropIfEmpty(s, w, hash)
		}
	}
	return from
}
