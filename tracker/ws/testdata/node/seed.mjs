// Seeds a file of pseudo-random bytes by WebTorrent only. Prints the infohash and
// the piece length, then what it uploads.
// Usage: node seed.mjs TRACKER_URL FILE
import WebTorrent from 'webtorrent'

const client = new WebTorrent({ dht: false, lsd: false, natUpnp: false, natPmp: false, utp: false, tcpPort: 0 })
client.on('error', (error) => { console.error(error); process.exit(1) })
client.seed(process.argv[3], { announce: [process.argv[2]], private: true }, (torrent) => {
  console.log(JSON.stringify({ infoHash: torrent.infoHash, pieceLength: torrent.pieceLength, length: torrent.length }))
})
