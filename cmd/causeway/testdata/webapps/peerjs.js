// Page 0 is alice, who answers; page 1 is bob, who asks her, again after the server was
// gone; page 2 would like to be alice as well.
import { Peer } from 'peerjs'
import { page, say, tracker } from './say.js'

const server = new URL(tracker)
const peer = new Peer(['alice', 'bob', 'alice'][page], {
  host: server.hostname, port: Number(server.port), path: '/', config: { iceServers: [] }
})
let opened = 0
peer.on('open', (id) => {
  say(opened++ ? 'open again' : 'open', id)
  if (page !== 1) return
  const ask = () => {
    const connection = peer.connect('alice')
    connection.on('open', () => connection.send('question ' + opened))
    connection.on('data', (text) => say('data', text))
  }
  ask()
  // alice may be later than bob to come back; PeerJS tells so with an error.
  peer.on('error', (error) => { if (error.type === 'peer-unavailable') setTimeout(ask, 500) })
})
peer.on('connection', (connection) => connection.on('data', (text) => {
  say('data', text)
  connection.send('answer to ' + text)
}))
peer.on('disconnected', () => {
  say('disconnected')
  const again = setInterval(() => {
    if (peer.open) clearInterval(again)
    else if (peer.disconnected) peer.reconnect()
  }, 500)
})
peer.on('error', (error) => say(error.type))
// A page that has not said it yet asks for an id of the server's making.
fetch(new URL('/peerjs/id?ts=1', server)).then((response) => response.text()).then((id) => say('id', id))
