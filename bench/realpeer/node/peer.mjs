// One WebTorrent peer in Node with one torrent, over WebRTC alone. Takes its options
// as one JSON object, prints one JSON object per line, and ends when its standard
// input does. Usage: node peer.mjs OPTIONS
import path from 'node:path'
import WebTorrent from 'webtorrent'

const o = JSON.parse(process.argv[2])
const say = (event, fields) => console.log(JSON.stringify({ event, ...fields }))
const fail = (error) => { say('error', { message: error.message }); process.exit(1) }

const client = new WebTorrent({
  dht: false, lsd: false, utp: false, natUpnp: false, natPmp: false, webSeeds: false,
  tracker: { rtcConfig: { iceServers: [] } }
})
client.on('error', fail)

const torrent = client.add(o.magnet || o.torrent, { path: o.dir, announce: o.trackers ?? [] })
torrent.on('error', fail)
torrent.on('warning', (warning) => console.error(warning.message ?? warning))
torrent.on('infoHash', () => say('added'))
torrent.on('ready', () => say('ready', { progress: torrent.progress, path: path.join(o.dir, torrent.name) }))
torrent.on('done', () => say('complete'))
setInterval(() => say('status', {
  progress: torrent.progress, downloaded: torrent.downloaded, uploaded: torrent.uploaded, peers: torrent.numPeers
}), 500)
process.stdin.on('end', () => process.exit()).resume()
