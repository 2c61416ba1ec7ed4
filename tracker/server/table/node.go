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
func (t *Table) leaveNodeSome(s *shard, node uint16, done int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for looked := 0; looked < sweepHold; done++ {
		i := len(s.order) - 1 - done
		if i < 0 {
			return -1
		}
		w := s.order[i]
		looked++
		for j := 0; w.web != nil && j < len(w.web.peers); looked++ {
			if uint16(w.web.peers[j].socket>>48) == node {
				t.removeWeb(w, j)
				continue
			}
			j++
		}
		if w.size() == 0 {
			t.dropIfEmpty(s, w)
			done--
		}
	}
	return done
}
