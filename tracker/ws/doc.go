// Package ws is a client of WebTorrent trackers: WebSocket servers that announce
// a torrent's peers to each other by relaying WebRTC offers and answers between
// them. It speaks the JSON protocol of bittorrent-tracker, for which there is no
// BEP, and knows nothing of WebRTC: descriptions are strings that its user makes.
//
//	manager := ws.New(ws.Config{PeerID: id})
//	handle := manager.Add("wss://tracker.example", torrent) // announces by itself
//	handle.Completed()                                      // all data is here
//	handle.Close()                                          // says "stopped"
//	manager.Close()
//
// One connection for each URL serves all torrents. It is pinged, and when it
// breaks it is made again and every torrent is announced anew. All that a tracker
// sends is hostile: messages have a largest size, offers a largest rate.
package ws
