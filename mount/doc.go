// Package mount shows torrents as folders: to the kernel by FUSE, and over HTTP by
// WebDAV, read-only both, over the same tree. Any program opens a file as if it were
// there, and what it reads is what is asked of peers first.
//
// It fetches nothing itself and knows no peers: it sees a torrent through the interface
// Torrent, which says what is in it, which bytes are there, and takes what is wanted.
// How far ahead of a reader that is, package stream/window decides, as for stream.
//
//	fs := mount.New(mount.Config{Folders: true})
//	fs.Add(torrent) // once its metadata is known
//	mounted, err := fs.Mount("/mnt/torrents", mount.Options{})
//	http.Serve(listener, guard.Wrap(fs.WebDAV()))
//	...
//	err = mounted.Unmount()
//	fs.Close()
//
// On Windows there is no FUSE: Mount then returns ErrNoFUSE. Attributes of files are
// those of BEP 47.
package mount
