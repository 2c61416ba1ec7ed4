// Package share is the HTTP side of `causeway share`: what stands around the page of package
// web, so that a link can be given to others. It knows neither peers nor pieces: torrents,
// their bytes, the tracker and the STUN and TURN servers are handed in.
//
//	s := share.New(share.Config{Torrents: torrents, Files: files, Tracker: tracker, ICE: ice})
//	defer s.Close()
//	http.Serve(listener, s)
//	<-s.Ended() // --expire, --views
//
// What is served where:
//
//	/, /share.json, /status.json, /sw.js, /assets/...   the page (package web)
//	/t/...                        files, with ranges (package stream)
//	/torrent/<infohash>.torrent   the torrent, with this tracker and web seed in it
//	/announce, /scrape            the tracker, over HTTP and WebSocket
//	/k/<key>/announce, .../scrape the same, with a password: only who was let in knows the key
//	/login                        takes the password
//	/receive/...                  takes files, if it may (see package web)
//
// # Who is let in
//
// A request must name as its Host an address, a name of this machine, or one that Config
// has: names of others may have been made to lead here (DNS rebinding). What changes something
// (a password, files that are sent) is taken from our own page only. With a password, a cookie
// tells who knew it; the cookie is a keyed hash, so that it holds across restarts.
//
// # What a view is
//
// A view is a browser that opened the page and got what is behind it: its first request for
// share.json or for a file's bytes. Opening it again in the same browser is the same view;
// programs that only look at the page's title, as messengers do, are none. Views are counted
// anew at each start.
package share
