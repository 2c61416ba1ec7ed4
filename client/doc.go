// Package client is the engine: torrents from any source, the swarm of each, what
// to ask of whom and whom to serve, and what lies on disk.
//
//	c, err := client.New(client.Config{StateDir: dir})
//	src, err := meta.Load(ctx, "magnet:?xt=urn:btih:...", nil)
//	t, err := c.Add(src, client.TorrentOptions{Dir: "downloads"})
//	<-t.Complete()
//	c.Close()
//
// One goroutine per torrent, its event loop (loop.go), owns the picker, the choker
// and the set of peers; there are no locks around those. Each connection has a
// reader and a writer. A block goes from the reader to the piece's memory and from
// there to the file; the event loop only hears that it came.
//
// Implemented here, on top of packages wire and tracker: BEP 3, 5, 6, 9, 10, 11,
// 12, 14, 21, 27, 53 and 54. It prints nothing and starts nothing that Close does
// not end.
package client
