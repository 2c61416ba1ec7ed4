// Package web is the page that plays what Causeway shares, in any browser: its sources
// (src), the files that esbuild makes of them (dist, not committed), and an http.Handler
// that serves them with a strict policy.
//
//	page := web.New(web.Options{Share: describe, Status: figures})
//	mux.Handle("/", page) // "/", "/share.json", "/status.json", "/sw.js" and "/assets/..."
//	mux.Handle("/t/", files)
//
// `make web` bundles the page where npm is. Without it a Go build still works: the sources
// themselves are served then, which play over plain HTTP; what comes from npm (webtorrent,
// mediabunny, jassub, client-zip) is missing, and the page says so. Built tells which it is.
//
// # What the page needs of its host
//
// All URLs may be relative to the page. Names from torrents may be anything: the page shows
// them as text. The page never asks the host to do anything, but for receiving.
//
//	GET  /share.json    Share: what is shared, the tracker, ICE servers with credentials
//	                    that are made for this answer. Never cached; asked for when the page
//	                    opens, and when Status.Run changes.
//	GET  /status.json   Status: figures of both swarms; every two seconds from each page.
//	                    410 Gone here or there says that the share has ended for good; 401 or
//	                    403 that a password is wanted: then the page itself is to be answered
//	                    with Handler.ServeLogin, and the password posted there gives a cookie.
//	GET  Torrent.Torrent   the .torrent file
//	GET  File.URL       the file, with byte ranges (206), HEAD, and ?download=1 to have it
//	                    saved; package stream's file URLs are that. The host is so a web seed
//	                    (BEP 19) whose use the page controls: while Causeway or viewers give
//	                    over WebRTC, the page leaves HTTP alone unless the player starves.
//	WS   Share.Announce the WebSocket tracker (BitTorrent over WebRTC)
//
// What the Host header may be, passwords, and how many clients there may be is the host's to
// check before a request gets here.
//
// Causeway's own peers are known to the page by their peer ids ("-CW...").
//
// Where Share.Receive is set, the page sends files, to URLs below Receive.URL. Each such
// request bears the header "X-Causeway: page", which pages of other origins cannot send
// without a preflight that the host does not answer; the host refuses requests without it.
// Errors are answered with a status and one line of text, which the page shows.
//
//	POST   /torrent      body: a .torrent (application/x-bittorrent) whose announce URLs are
//	                     Share.Announce's and which the page seeds over WebRTC; it announces
//	                     itself again after the answer. Answers
//	                     Receiving. The host checks size, count and names before it fetches.
//	GET    /<id>         Receiving: how far that is
//	DELETE /<id>         the page gives up on it: it sends the files by HTTP instead
//	POST   /upload       body: Upload (JSON); answers Receiving
//	GET    /<id>/<i>     Receiving: how much of the i-th file is there
//	PUT    /<id>/<i>?offset=N   body: the file from there on; N is at most what is there
//	POST   /<id>/done    all files are sent: the host checks their lengths and saves them
package web
