package peerjs

import (
	"container/list"
	"time"
)

// waiting are the messages to names that nobody has.
type waiting struct {
	config *Config
	count  int
	bytes  int
	order  list.List            // of *waiter, the oldest first
	byName map[string][]*waiter // who waits for a name, in order
}

// waiter is a message that waits.
type waiter struct {
	from  *client
	to    string
	text  []byte
	since time.Time
	at    *list.Element
}

func (w *waiting) init(config *Config) {
	w.config = config
	w.byName = make(map[string][]*waiter)
}

// add has a message wait, if there is room.
func (w *waiting) add(from *client, to string, text []byte) bool {
	if len(w.byName[to]) >= w.config.MaxWaitingFor || from.from >= w.config.MaxWaitingFrom ||
		w.bytes+len(text) > w.config.MaxWaitingBytes {
		return false
	}
	m := &waiter{from: from, to: to, text: text, since: time.Now()}
	m.at = w.order.PushBack(m)
	w.byName[to] = append(w.byName[to], m)
	from.from++
	w.count++
	w.bytes += len(text)
	return true
}

// take returns what waits for a name, and forgets it.
func (w *waiting) take(name string) []*waiter {
	all := w.byName[name]
	delete(w.byName, name)
	for _, m := range all {
		w.order.Remove(m.at)
		m.from.from--
		w.count--
		w.bytes -= len(m.text)
	}
	return all
}

// expire tells the senders of messages that have waited too long. Each hears of a name once.
// As in peer, all that waits for a name goes with the oldest.
func (s *Server) expire(now time.Time) {
	type notice struct {
		to   *client
		text []byte
	}
	var notices []notice
	s.mu.Lock()
	for {
		first := s.waiting.order.Front()
		if first == nil || now.Sub(first.Value.(*waiter).since) < s.config.Expire {
			break
		}
		name := first.Value.(*waiter).to
		told := make(map[*client]bool)
		for _, m := range s.waiting.take(name) {
			s.stats.Expired++
			if !told[m.from] && s.clients[m.from.name] == m.from {
				notices = append(notices, notice{m.from, appendExpire(nil, name, m.from.name)})
			}
			told[m.from] = true
		}
	}
	s.mu.Unlock()
	for _, n := range notices {
		n.to.conn.Send(nil, n.text)
	}
}
