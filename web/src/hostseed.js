// The host as a web seed (BEP 19): blocks asked for over the engine's wire become HTTP
// ranges of the host's files. Unlike webtorrent's own it takes files by their URLs from
// share.json, so that no name needs guessing, and it can be held back: bytes that other
// viewers can give are not asked of the host.
import Wire from 'bittorrent-protocol'
import BitField from 'bitfield'
import ltDontHave from 'lt_donthave'
import { setTimeout } from './timers.js'

const ANSWER_WITHIN = 60_000 // ms
const RETRY_AFTER = 3_000 // ms after a failed range

export class HostSeed extends Wire {
  // files are those of share.json, in the torrent's order.
  constructor (torrent, files) {
    super()
    this.connId = `host:${torrent.infoHash}`
    this.torrentOf = torrent
    this.urls = files.map((f) => f.url)
    this.bytes = 0
    this.held = false
    this.failing = false
    this.serving = new Map() // blocks on their way, and whom they are for
    this.stopper = new AbortController()
    this.setKeepAlive(true)
    this.use(ltDontHave())
    this.once('handshake', (infoHash) => {
      this.handshake(infoHash, HOST_ID)
      const all = new BitField(torrent.pieces.length)
      for (let i = 0; i < torrent.pieces.length; i++) all.set(i, true)
      this.bitfield(all)
    })
    this.on('interested', () => { if (!this.held) this.unchoke() })
    this.on('request', (piece, offset, length, done) => this.#serve(piece, offset, length, done))
    this.once('close', () => this.stopper.abort())
  }

  // hold stops or starts giving.
  hold (held) {
    if (held === this.held || this.destroyed) return
    this.held = held
    if (held) this.choke()
    else this.unchoke()
  }

  // A block that is asked for again, after a choke or a cancel, while it is on its way is
  // for who asked last: an answer to who asked before would take the later request away.
  async #serve (piece, offset, length, done) {
    const key = `${piece} ${offset} ${length}`
    const under = this.serving.get(key)
    if (under) {
      under.done = done
      return
    }
    const asked = { done }
    this.serving.set(key, asked)
    const torrent = this.torrentOf
    let block, failed
    try {
      block = await this.range(piece * torrent.pieceLength + offset, length)
    } catch (err) {
      failed = err
    }
    this.serving.delete(key)
    if (this.destroyed) return
    this.failing = !!failed
    if (failed) {
      this.lt_donthave.donthave(piece)
      setTimeout(() => { if (!this.destroyed) this.have(piece) }, RETRY_AFTER)
      asked.done(failed)
    } else {
      this.bytes += block.length
      asked.done(null, block)
    }
  }

  // range fetches bytes of the torrent, which may lie in several files.
  async range (start, length) {
    const end = start + length
    const block = new Uint8Array(length)
    const files = this.torrentOf.files
    await Promise.all(files.map(async (file, i) => {
      const from = Math.max(start, file.offset)
      const to = Math.min(end, file.offset + file.length)
      if (from >= to || !this.urls[i]) return // padding has no URL, and is all zeros (BEP 47)
      const signal = AbortSignal.any ? AbortSignal.any([this.stopper.signal, AbortSignal.timeout(ANSWER_WITHIN)]) : this.stopper.signal
      const response = await fetch(this.urls[i], {
        cache: 'no-store', signal, headers: { range: `bytes=${from - file.offset}-${to - file.offset - 1}` }
      })
      if (response.status !== 206 && !(response.status === 200 && to - from === file.length)) throw new Error(`the host answered ${response.status}`)
      const part = new Uint8Array(await response.arrayBuffer())
      if (part.length !== to - from) throw new Error('the host sent another length')
      block.set(part, from - start)
    }))
    return block
  }
}

// HOST_ID is the peer id of the seed at the engine: hexadecimal of "-CWHTTP-" and zeros.
const HOST_ID = '2d4357485454502d' + '0'.repeat(24)
