// Package meta is a validated view of torrents: .torrent files, info
// dictionaries fetched from peers, and magnet links. It also makes torrents and
// checks data against them. What it returns can be trusted: sizes add up, names
// are safe relative paths on every operating system, and the infohash is over
// the exact bytes received.
//
// It does not talk to peers or trackers, and it does not write data. Over HTTP it fetches
// what a person names, and what a magnet link names ("xs", "as"); where strangers may
// send it is the policy of the Network that it is handed.
//
//	src, err := meta.Load(ctx, "ubuntu.torrent", os.Stdin)
//	if src.Torrent != nil {
//		fmt.Println(src.Torrent.Info.Name, src.Torrent.Magnet())
//	}
//
// Implemented: BEP 3 (metainfo), 5 (nodes), 9 (magnet links), 12 (tracker
// tiers), 19 (web seeds), 27 (private), 47 (padding files, executable
// attribute), 53 (select-only magnets) and the v1 side of the hybrid torrents
// of BEP 52. Torrents that have a v2 side only are refused.
//
// # Why not the decoder of anacrolix/torrent
//
// Everything here is read from strangers. That decoder recurses as deep as its
// input tells it to, builds Go values for keys nobody asked for (64 MiB of "le"
// cost several GiB), and its metainfo types panic on a short v2 root and on a
// base32 infohash with padding. So reading goes through a bencode scanner that
// allocates nothing; writing, where the values are our own, uses its bencode and
// metainfo packages.
package meta
