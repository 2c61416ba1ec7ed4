package allot

import (
	"net/netip"
	"time"
)

const (
	// evictedWeight is what a connection that had to go counts, one that ended by itself
	// and moved nothing counts 1. A host is clean below uncleanAt: whoever connects from
	// both sides at once, or finds another seed, hangs up once for good reasons.
	evictedWeight = 2
	uncleanAt     = 2
	// recordFor is for how long it is remembered, and maxRecord bounds the hosts.
	recordFor = 10 * time.Minute
	maxRecord = 4096
)

// record remembers hosts whose connections moved nothing.
type record struct{ hosts map[netip.Prefix]entry }

type entry struct {
	weight int
	last   time.Time
}

func newRecord() record { return record{make(map[netip.Prefix]entry)} }

func (r record) useless(host netip.Prefix, weight int, now time.Time) {
	e, known := r.hosts[host]
	if !known && len(r.hosts) >= maxRecord {
		r.forget(now)
	}
	if now.Sub(e.last) > recordFor {
		e.weight = 0
	}
	r.hosts[host] = entry{min(e.weight+weight, uncleanAt), now}
}

func (r record) useful(host netip.Prefix) { delete(r.hosts, host) }

// forget makes room: what is old goes, or else all.
func (r record) forget(now time.Time) {
	for host, e := range r.hosts {
		if now.Sub(e.last) > recordFor {
			delete(r.hosts, host)
		}
	}
	if len(r.hosts) >= maxRecord {
		clear(r.hosts)
	}
}

func (r record) clean(host netip.Prefix, now time.Time) bool {
	if !host.IsValid() {
		return true // nobody in particular
	}
	e := r.hosts[host]
	return e.weight < uncleanAt || now.Sub(e.last) > recordFor
}
