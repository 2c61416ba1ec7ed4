package client_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/causeway-bt/causeway/client"
	"github.com/causeway-bt/causeway/client/meta"
)

// local keeps the examples on this machine: leave it out to use DHT, trackers and
// the usual port.
var local = client.Config{
	ListenHost: "127.0.0.1", DisableDHT: true, DisableLSD: true, DisableTrackers: true, DisableWebRTC: true,
}

// seed makes a torrent of a small file and seeds it.
func seed(dir string) (*client.Client, *meta.Torrent) {
	path := filepath.Join(dir, "greeting.txt")
	if err := os.WriteFile(path, []byte("hello, swarm\n"), 0o666); err != nil {
		log.Fatal(err)
	}
	raw, err := meta.Create(context.Background(), path, meta.CreateOptions{})
	if err != nil {
		log.Fatal(err)
	}
	torrent, err := meta.ParseTorrent(raw)
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.New(local)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Add(&meta.Source{Torrent: torrent}, client.TorrentOptions{Dir: dir}); err != nil {
		log.Fatal(err)
	}
	return c, torrent
}

func tempDir() string {
	dir, err := os.MkdirTemp("", "causeway-example-")
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

// Download by magnet link, from a peer that is named in it.
func Example() {
	from, to := tempDir(), tempDir()
	defer os.RemoveAll(from)
	defer os.RemoveAll(to)
	seeder, torrent := seed(from)
	defer seeder.Close()

	c, err := client.New(local)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	magnet := torrent.Magnet()
	magnet.Peers = []string{seeder.TCPAddr().String()}
	src, err := meta.Load(context.Background(), magnet.String(), nil)
	if err != nil {
		log.Fatal(err)
	}
	t, err := c.Add(src, client.TorrentOptions{Dir: to})
	if err != nil {
		log.Fatal(err)
	}
	select {
	case <-t.Complete():
	case <-t.Failed():
		log.Fatal(t.Err())
	}
	data, err := os.ReadFile(filepath.Join(to, t.Name()))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s", t.Name(), data)
	// Output: greeting.txt: hello, swarm
}

// Read a file in order while it is being downloaded.
func ExampleTorrent_OpenFile() {
	from, to := tempDir(), tempDir()
	defer os.RemoveAll(from)
	defer os.RemoveAll(to)
	seeder, torrent := seed(from)
	defer seeder.Close()

	c, err := client.New(local)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	t, err := c.Add(&meta.Source{Torrent: torrent}, client.TorrentOptions{
		Dir: to, Peers: []string{seeder.TCPAddr().String()},
	})
	if err != nil {
		log.Fatal(err)
	}
	r, err := t.OpenFile(context.Background(), 0)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	r.SetWindow(1 << 20)
	if _, err := io.Copy(os.Stdout, r); err != nil {
		log.Fatal(err)
	}
	// Output: hello, swarm
}
