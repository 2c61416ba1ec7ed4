package disk

import "sync"

// queuedJobs is how many jobs may wait for a worker before whoever brings another
// is held up.
const queuedJobs = 256

// Pool is a set of workers that hash and write, for all torrents of a process.
type Pool struct {
	size    int // workers
	jobs    chan func()
	workers sync.WaitGroup
}

// NewPool starts n workers.
func NewPool(n int) *Pool {
	p := &Pool{size: max(n, 1), jobs: make(chan func(), queuedJobs)}
	for range p.size {
		p.workers.Go(func() {
			for job := range p.jobs {
				job()
			}
		})
	}
	return p
}

func (p *Pool) submit(job func()) { p.jobs <- job }

// Close waits for the jobs that were handed in. None may be handed in any more.
func (p *Pool) Close() {
	close(p.jobs)
	p.workers.Wait()
}
