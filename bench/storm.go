package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/causeway-bt/causeway/bench/storm"
)

// stormRate is how fast the transfers in the storm are, in bytes per second: so slow that
// what a thousand hostile peers need of the processors is not what is measured.
const stormRate = 2 << 20

// storm measures honest transfers among a thousand hostile peers, beside the same
// without them.
func (b *bench) storm(ctx context.Context) error {
	if b.causeway == "" {
		return nil
	}
	dir, err := b.scratch("storm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r, err := storm.Run(ctx, storm.Options{Causeway: b.causeway, Work: dir, Duration: b.duration, Rate: stormRate})
	if err != nil {
		return err
	}
	rows := [][]string{{"", "seconds", "RssAnon MiB", "loop late by"}}
	for _, side := range []struct {
		name string
		storm.Side
	}{
		{"download in the storm", r.Download.Storm}, {"download without", r.Download.Calm},
		{"seed in the storm", r.Seed.Storm}, {"seed without", r.Seed.Calm},
	} {
		rows = append(rows, []string{
			side.name, fmt.Sprintf("%.1f", side.Took.Seconds()), fmt.Sprint(side.Memory >> 20), side.Late.Round(time.Millisecond).String(),
		})
	}
	table(b.out, "Storm: 1000 hostile peers from 50 addresses, "+b.duration.String(), rows)
	fmt.Fprintf(b.out, "\nThe crowd connected %d times, %d with handshakes both ways, and sent %d MiB.\n",
		r.Crowd.Dials+r.Waiting.Dials, r.Crowd.Greeted+r.Waiting.Greeted, (r.Crowd.Sent+r.Waiting.Sent)>>20)
	return nil
}
