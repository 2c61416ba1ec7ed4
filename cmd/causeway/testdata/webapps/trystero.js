// A chat of whoever is in the room: each greets each that joins.
import { joinRoom } from '@trystero-p2p/torrent'
import { page, say, tracker } from './say.js'

const room = joinRoom({
  appId: 'causeway', relayConfig: { urls: [tracker], redundancy: 1 }, rtcConfig: { iceServers: [] }
}, 'a room')
const chat = room.makeAction('chat', { onMessage: (text) => say('message', text) })
room.onPeerJoin = (peer) => {
  say('joined', peer)
  chat.send('hello from page ' + page)
}
