package main

import (
	"fmt"
	"sync"
	"time"
)

// logWriter prints log lines between the bars. It does not wait for whoever reads them:
// the engine's event loops write to it.
type logWriter struct{ printer *printer }

func (w logWriter) Write(line []byte) (int, error) {
	w.printer.log.put(w.printer, string(line[:max(len(line)-1, 0)]))
	return len(line), nil
}

const (
	// maxLogLines bounds the lines that wait to be printed. Beyond, they are counted.
	maxLogLines = 1000
	// logPatience is how long the program waits for them at its end.
	logPatience = time.Second
)

// logQueue is the lines that wait to be printed.
type logQueue struct {
	mu      sync.Mutex
	lines   []string
	lost    int
	writing chan struct{} // closed when all are printed; nil: they are
}

func (q *logQueue) put(p *printer, line string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.lines) >= maxLogLines {
		q.lost++
		return
	}
	q.lines = append(q.lines, line)
	if q.writing == nil {
		q.writing = make(chan struct{})
		go q.write(p)
	}
}

// write prints all that there is.
func (q *logQueue) write(p *printer) {
	for {
		q.mu.Lock()
		lines, lost := q.lines, q.lost
		q.lines, q.lost = nil, 0
		if len(lines) == 0 {
			close(q.writing)
			q.writing = nil
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		for _, line := range lines {
			p.print(line)
		}
		if lost > 0 {
			p.print(fmt.Sprintf("%d log lines are left out: there were more than could be printed", lost))
		}
	}
}

// flush waits, for a while, until all lines are printed.
func (q *logQueue) flush() {
	q.mu.Lock()
	writing := q.writing
	q.mu.Unlock()
	if writing == nil {
		return
	}
	select {
	case <-writing:
	case <-time.After(logPatience):
	}
}
