// Package stream serves torrents' files over HTTP to players, browsers and other
// BitTorrent clients while they are still being downloaded: byte ranges,
// playlists, subtitles as WebVTT, a page for people and figures for programs.
//
// It knows nothing of peers and pieces: it sees a torrent through the small
// interfaces Torrent, File and Reader. What it decides is how far ahead of each
// response bytes are wanted (see window.go); which peers bring them, and when,
// is the engine's business.
//
//	ln, err := access.Listen(ctx, nil, "127.0.0.1:8080", token)
//	server := stream.New(stream.Config{Listen: ln.Addr(), Token: token, Torrents: torrents})
//	defer server.Close()
//	fmt.Println(server.Links(ln.Addr()).File(torrent, media.Largest(torrent.Files())))
//	err = server.Serve(ln)
//
// What is served where:
//
//	/                                 a page of all torrents
//	/playlist.m3u8                    all audio and video files
//	/t/<infohash>                     a page of one torrent
//	/t/<infohash>.m3u8                its audio and video files
//	/t/<infohash>/<index or path>     a file; the path may start with the torrent's name
//	/t/<infohash>/<index or path>.vtt a subtitle file as WebVTT
//	/t/<infohash>/stats.json          its open responses
//
// Whoever holds places and does nothing with them loses them to others: connections
// (conns.go) and responses (seats.go) are bounded, and of either the one worth least gives
// way, of the address that has most. Pages of other origins than the server's own may
// neither read nor have anything fetched unless Config.Origins has theirs (cors.go).
//
// RFC 9110 (ranges, conditional requests), RFC 6266 and 8187 (Content-Disposition),
// BEP 19 (a file's URL, and /t/<infohash> for many files, are web seeds), the
// Fetch standard's CORS and Fetch Metadata, and the DLNA guidelines' transferMode and
// contentFeatures headers.
package stream
