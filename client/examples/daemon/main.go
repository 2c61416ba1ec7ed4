// Daemon embeds the engine as a program that runs for long does: torrents come and go, are
// stopped, changed and moved, and the client is never started anew.
//
//	go run ./client/examples/daemon A.torrent B.torrent FOLDER
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: daemon TORRENT|MAGNET TORRENT|MAGNET FOLDER")
	}
	if err := run(context.Background(), client.Config{}, os.Args[1:3], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

// run downloads two torrents to a folder, and shows what can be done with them meanwhile.
func run(ctx context.Context, cfg client.Config, sources []string, dir string) error {
	cfg.OnEvent = func(e client.Event) { fmt.Printf("%T %+v\n", e, e) }
	c, err := client.New(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, source := range sources {
		src, err := meta.Load(ctx, source, nil)
		if err != nil {
			return err
		}
		if _, err := c.Add(src, client.TorrentOptions{Dir: dir, Limits: client.Limits{Down: 256 << 10}}); err != nil {
			return err
		}
	}
	for _, t := range c.Torrents() {
		<-t.GotInfo()
		s := t.Stats()
		fmt.Printf("%s: %s, %d of %d bytes from %d peers\n", t.Name(), s.State, s.Completed, s.Wanted, s.Peers.TCP)
	}
	first, second := c.Torrents()[0], c.Torrents()[1]
	for _, step := range []func() error{
		func() error { return first.Select(ctx, "0") }, // the first file alone
		func() error { return first.SetLimits(client.Limits{Up: 1 << 20}) },
		func() error { return second.Stop(ctx) },
		func() error { return complete(ctx, first) },
		func() error { return first.Recheck(ctx) },
		func() error { return first.Select(ctx, "") }, // all of it
		func() error { return complete(ctx, first) },
		func() error { return first.Move(ctx, filepath.Join(dir, "done")) },
		func() error { return second.Start(ctx) },
		func() error { c.SetLimits(client.Limits{Down: 10 << 20}); return second.SetLimits(client.Limits{}) },
		func() error { return complete(ctx, second) },
		func() error { return second.Remove(ctx, true) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return c.Close()
}

// complete waits until all that is wanted is there.
func complete(ctx context.Context, t *client.Torrent) error {
	select {
	case <-t.Complete():
		return nil
	case <-t.Failed(): // a full disk, perhaps: Start tries again
		return t.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
