package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/causeway-bt/causeway/bench/path"
)

// pathSize is how much goes through a path in one run, unless -size says less.
const pathSize = 64 << 20

// row is one path through which something is measured, which -rows can choose.
type row struct {
	name string
	path.Config
}

// What most paths have: 100 Mbit/s, and the round trip from one end of a continent to the
// other. Their queue is one of the bandwidth-delay product.
const (
	pathRate = 12_500_000 // bytes per second
	pathRTT  = 50 * time.Millisecond
)

// sectionRows names the rows of the sections that have them.
var sectionRows = map[string][]string{
	"utp":   append(append([]string{loopbackRow}, names(utpRows)...), names(utpQueueRows)...),
	"paths": append(append(append(names(pathRows), names(jainRows)...), shareRow.name), names(senderRows)...),
}

func names[R interface{ rowName() string }](rows []R) (names []string) {
	for _, r := range rows {
		names = append(names, r.rowName())
	}
	return names
}

func (r row) rowName() string { return r.name }

// checkRows says which of the names that were given with -rows no section has.
func checkRows(rows []string) error {
	for _, name := range rows {
		if slices.Contains(sectionRows["utp"], name) || slices.Contains(sectionRows["paths"], name) {
			continue
		}
		return fmt.Errorf("there is no row %q; utp has %s; paths has %s", name,
			strings.Join(sectionRows["utp"], ", "), strings.Join(sectionRows["paths"], ", "))
	}
	return nil
}

// wants reports whether a row was chosen.
func (b *bench) wants(name string) bool { return len(b.rows) == 0 || slices.Contains(b.rows, name) }

// wanted returns the rows that were chosen.
func wanted[R interface{ rowName() string }](b *bench, rows []R) []R {
	return slices.DeleteFunc(slices.Clone(rows), func(r R) bool { return !b.wants(r.rowName()) })
}

// tooLate is by how much the forwarder may be late: some wake-ups of a machine with nothing
// else to do, and far below the round trips.
const tooLate = 5 * time.Millisecond

// checkPath says on the log if the forwarder could not keep up, so that a figure is of no use.
func (b *bench) checkPath(p *path.Path) {
	there, back := p.Counters()
	lost, late := there.Overruns+back.Overruns, max(there.Behind, back.Behind)
	if lost > 0 || late > tooLate {
		fmt.Fprintf(b.log, "the forwarder was up to %v late and lost %d packets: measure again on a quieter machine\n", late.Round(time.Millisecond), lost)
	}
}

func ofCap(rate, limit float64) string { return fmt.Sprintf("%.0f %%", 100*rate/limit) }
