// Two clients of bittorrent-tracker meet at a WebSocket tracker: they announce, connect,
// update, complete, scrape and stop. Prints a JSON line for what each step brought.
// Usage: node client.mjs TRACKER_URL; exits with 3 if node's own WebRTC failed.
import { Client } from 'bittorrent-tracker'
import { randomBytes } from 'node:crypto'

const infoHash = randomBytes(20)
const tell = (step, data = {}) => console.log(JSON.stringify({ step, ...data }))

function client (left) {
  // Clients of the same URL would share a socket.
  const announce = [`${process.argv[2]}?left=${left}`]
  const c = new Client({ infoHash, peerId: randomBytes(20), announce, port: 6881, rtcConfig: { iceServers: [] } })
  c.on('error', error => { tell('error', { message: error.message }); process.exit(1) })
  c.on('warning', error => {
    tell('warning', { message: error.message })
    process.exit(/libdatachannel/.test(error.message) ? 3 : 1)
  })
  c.left = left
  return c
}
const once = (emitter, event) => new Promise(resolve => emitter.once(event, resolve))
const counts = ({ complete, incomplete, downloaded, interval }) => ({ complete, incomplete, downloaded, interval })

const seed = client(0)
seed.start({ left: 0 })
tell('started', counts(await once(seed, 'update')))

const leech = client(100)
const atSeed = once(seed, 'peer')
const atLeech = once(leech, 'peer')
leech.start({ left: 100 })
tell('joined', counts(await once(leech, 'update')))
const peers = await Promise.all([atSeed, atLeech])
await Promise.all(peers.map(peer => peer.connected || once(peer, 'connect')))
peers[0].write('hello')
tell('met', { data: Buffer.from(await once(peers[1], 'data')).toString() })

leech.update({ left: 50 })
tell('updated', counts(await once(leech, 'update')))
leech.complete({ left: 0 })
tell('completed', counts(await once(leech, 'update')))
leech.scrape()
tell('scraped', counts(await once(leech, 'scrape')))
leech.stop()
tell('stopped', counts(await once(leech, 'update')))
process.exit(0)
