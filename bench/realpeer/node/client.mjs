// Two clients of bittorrent-tracker that do at one tracker all that they can. Prints what
// the tracker answered, a JSON line for each step, and fails when it warns. Usage: node
// client.mjs OPTIONS
import Client from 'bittorrent-tracker/client'

const { url, infohash } = JSON.parse(process.argv[2])
const say = (step, { complete, incomplete } = {}, fields) =>
  console.log(JSON.stringify({ step, complete, incomplete, ...fields }))

const make = (name, port) => {
  // Clients of one process have one WebSocket for each URL. These are two people.
  const announce = url + '?' + name
  const client = new Client({
    infoHash: infohash, peerId: Buffer.from('-CL0001-' + name.padEnd(12, '0')), announce, port,
    rtcConfig: { iceServers: [] }, getAnnounceOpts: () => ({ left: client.left }) // of a client that has not finished
  })
  client.left = 1000
  const fail = (error) => { console.error(name, error.message); process.exit(1) }
  // What node's WebRTC, libdatachannel, stumbles over on a busy machine is no word of the tracker's.
  client.on('warning', (error) => /libdatachannel/.test(error.message) || fail(error)).on('error', fail)
  return client
}
const next = (client, event) => new Promise((resolve) => client.once(event, resolve))
const step = async (name, client, event, act) => {
  const came = next(client, event)
  act()
  const answer = await came
  say(name, answer, event === 'scrape' && { downloaded: answer.downloaded })
}

const first = make('first', 6001)
const second = make('second', 6002)
await step('first starts', first, 'update', () => first.start())
// Over HTTP and UDP the second is told of the first; over WebSocket each meets the other.
const met = next(second, 'peer')
await step('second starts', second, 'update', () => second.start())
const peer = await met
say('second meets', {}, { peer: typeof peer === 'string' ? peer : peer.id })
await step('second updates', second, 'update', () => second.update())
await step('second completes', second, 'update', () => { second.left = 0; second.complete() })
await step('scrape', first, 'scrape', () => first.scrape())
await step('second stops', second, 'update', () => second.stop())
await step('scrape after the stop', first, 'scrape', () => first.scrape())
process.exit()
