// Package realpeer runs BitTorrent programs that this project did not write, for
// interoperability tests and benchmarks: libtorrent, aria2, Transmission, qBittorrent,
// opentracker, coturn, Chromium and Firefox as Debian ships them, and from npm bittorrent-tracker and
// webtorrent, in Node and in pages of the browsers. Everything listens and dials on
// 127.0.0.1 only, or at Host if CAUSEWAY_TEST_HOST names another address (in a network
// namespace, where it is told to), lives in a folder of its own, and is gone when the test ends.
//
//	realpeer.Need(t, realpeer.Libtorrent)
//	seed := realpeer.Start(t, realpeer.Options{Program: realpeer.Libtorrent, Torrent: f, Dir: dir, Seed: true})
//	... download from seed.Addr ...
//	err := seed.WaitComplete(ctx)
//
// What these programs cannot do on one machine, and Start therefore refuses: aria2
// and Transmission cannot be told the address of a peer; Transmission uses no DHT as
// small as ours. Nor does it take a loopback address from a tracker or PEX: there, one has
// to dial it.
package realpeer
