// Package ws is a client of WebTorrent trackers: WebSocket servers that announce
// a torrent's peers to each other by relaying WebRTC offers and answers between
// them. It speaks the JSON protocol of bittorrent-tracker, for which there is no
// BEP, and knows nothing of WebRTC: descriptions are strings that its user makes.
//
//	manager := ws.New(ws.Config{})
//	handle := manager.Add("wss://tracker.example", torrent) // announces by itself
//	handle.Completed()                                      // all data is here
//	handle.Close()                                          // says "stopped", after "completed"
//	manager.Close()
//
// One connection for each URL serves all torrents, each with a peer id of its own
// unless the tracker takes only one on a connection. It is pinged every 25 s, and given
// up when no answer has come 15 s later.
//
// A connection that breaks is made again after 1 s, then 2 s, 4 s and so on up to
// 60 s, and every torrent is announced anew, "stopped" for the connection before. Up to
// 10 minutes after a tracker was last there, the wait is never more than 3 s: it has
// probably only restarted, and all torrents shall be announced within 5 s of its return.
// After 10 minutes without it, waits double from 2 minutes to an hour; one of more than
// a minute ends when a torrent is added. Each is shortened by up to a fifth, at random.
//
// All that a tracker sends is hostile. A message of more than 160 KiB ends the
// connection; 500 messages are read per second, after a burst of 1000. Of the
// offers, 5 per second are answered for one torrent and 50 for all, after bursts
// of 30 and 100. A torrent hears of a status only when it is a new one, and at
// most once a second.
package ws
