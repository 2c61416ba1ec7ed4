// The reference WebSocket tracker on 127.0.0.1. Prints its port as a JSON line, then
// each announce that starts or completes. Usage: node tracker.mjs OPTIONS
import { Server } from 'bittorrent-tracker'

const { port } = JSON.parse(process.argv[2])
const say = (event, fields) => console.log(JSON.stringify({ event, at: Date.now(), ...fields }))

const server = new Server({ http: false, udp: false, ws: true, stats: false })
server.on('error', (error) => { console.error(error.message); process.exit(1) })
server.on('warning', (error) => console.error(error.message))
for (const event of ['start', 'update', 'complete', 'stop']) {
  server.on(event, (_, { info_hash: infoHash, peer_id: peerId }) => {
    say(event, { infohash: Buffer.from(infoHash, infoHash.length === 40 ? 'hex' : 'latin1').toString('hex'), peer_id: Buffer.from(peerId, peerId.length === 40 ? 'hex' : 'latin1').toString('latin1') })
  })
}
server.listen(port, '127.0.0.1', () => say('listening', { port: server.ws.address().port }))
process.stdin.on('end', () => process.exit()).resume()
