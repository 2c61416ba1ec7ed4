// The part of the page that is a BitTorrent peer: webtorrent, with a store that survives
// reloads, the host as a web seed that is held back where other viewers can give, and
// windows of pieces that readers wait for. Loaded only where a page may use it; its
// packages' timers run in a worker (see build.mjs).
import WebTorrent from 'webtorrent'
import { DroppedStore } from './dropped.js'
import { HostSeed } from './hostseed.js'
import { openStore, storeOver } from './store.js'
import { setInterval, setTimeout } from './timers.js'

const CAUSEWAY_ID = '2d4357' // hexadecimal of "-CW", as all peer ids of Causeway begin
const CACHE = 24e6 // bytes of pieces in memory beside the store
// A reader wants so many bytes before everything else at first, up to so many: what a player has
// to see before it shows a picture must not wait for what comes after.
const AHEAD_AT_FIRST = 1e6
const AHEAD = 24e6
const READ = 512 << 10 // the most that one read returns, bytes
const DECIDE_EVERY = 500 // ms
// A reader counts as idle, and wants nothing before others, after:
const IDLE_AFTER = 15_000 // ms
// The tracker is asked again after so long without its socket:
const TRACKER_RETRY = 3_000 // ms
// How long the host keeps silent for viewers to deliver, once one of them can:
const PATIENCE = 1_500 // ms
// What the host gave over HTTP counts for less with each decision.
const FORGETTING = 0.99

// Priorities of selections, the highest first.
const NOW = 4
const NEXT = 3
const SOON = 2

export class Engine extends EventTarget {
  constructor (share) {
    super()
    this.share = share
    this.client = new WebTorrent({
      dht: false, lsd: false, natUpnp: false, natPmp: false, utp: false, webSeeds: false,
      tracker: { announce: [], rtcConfig: rtc(share) }
    })
    this.client.on('error', (error) => this.#report(error))
    this.swarms = new Map()
  }

  #report (error) { this.dispatchEvent(new CustomEvent('trouble', { detail: String(error?.message ?? error) })) }

  // open joins the swarm of one torrent of share.json, once.
  async open (shared) {
    let swarm = this.swarms.get(shared.infohash)
    if (!swarm) {
      swarm = new Swarm(this, shared)
      this.swarms.set(shared.infohash, swarm)
      swarm.opening = swarm.open()
      swarm.opening.catch(() => this.swarms.delete(shared.infohash))
    }
    await swarm.opening
    return swarm
  }

  // renew takes a fresh description: of a host that came back, with new credentials.
  renew (share) {
    this.share = share
    this.client.tracker.rtcConfig = rtc(share)
    for (const swarm of this.swarms.values()) swarm.reannounce()
  }
}

const rtc = (share) => ({ iceServers: share.ice ?? [] })

class Swarm {
  constructor (engine, shared) {
    this.engine = engine
    this.shared = shared
    this.readers = new Set()
    this.waiting = new Map() // piece -> callbacks
    this.came = { host: 0, causeway: 0, viewers: 0, classic: 0 } // bytes of content
    this.gave = 0
    this.decided = 0
    this.met = 0 // direct connections so far
    this.wanted = new Set() // indices of files that are wanted whole
    this.trackerSeen = 0
    this.overHTTP = 0 // bytes/s, the most of late
    this.opened = performance.now()
  }

  async open () {
    const [metainfo, state] = await Promise.all([this.#metainfo(), openStore(this.shared.infohash, this.shared.length)])
    this.state = state
    const torrent = this.engine.client.add(metainfo, {
      announce: this.engine.share.announce ?? [],
      store: storeOver(this.state, this.shared.infohash),
      storeCacheSlots: Math.max(2, Math.floor(CACHE / this.shared.piece_length)),
      // Where nothing is kept there is nothing to look for.
      bitfield: this.state.sizes.size ? undefined : new Uint8Array(Math.ceil(Math.ceil(this.shared.length / this.shared.piece_length) / 8)),
      deselect: true, strategy: 'rarest', maxWebConns: 4, uploads: 12
    })
    this.torrent = torrent
    // The .torrent names trackers of other kinds too, which no page can reach.
    torrent.once('infoHash', () => { torrent.announce = this.engine.share.announce ?? [] })
    torrent.on('warning', () => {}) // trackers and peers that fail are told by their state
    torrent.on('wire', (wire) => this.#onWire(wire))
    torrent.on('verified', (index) => this.#onVerified(index))
    torrent.on('trackerAnnounce', () => { this.trackerSeen = performance.now() })
    await new Promise((resolve, reject) => {
      torrent.once('ready', resolve)
      torrent.once('error', reject)
    })
    if (torrent.infoHash !== this.shared.infohash) throw new Error('the host sent another torrent')
    // What is there now was kept from earlier visits.
    this.keptAtStart = torrent.downloaded
    this.#addHost()
    this.timer = setInterval(() => this.#decide(), DECIDE_EVERY)
    addEventListener('pagehide', () => torrent.discovery?.tracker?.stop())
  }

  async #metainfo () {
    const response = await fetch(this.shared.torrent, { cache: 'no-store' })
    if (!response.ok) throw new Error(`the torrent could not be fetched (${response.status})`)
    return new Uint8Array(await response.arrayBuffer())
  }

  #addHost () {
    this.host = new HostSeed(this.torrent, this.shared.files)
    this.torrent.addWebSeed(this.host)
    this.host.once('close', () => { setTimeout(() => { if (!this.torrent.destroyed) this.#addHost() }, 2000) })
  }

  #onWire (wire) {
    const from = wire.type === 'webSeed' ? 'host' : wire.peerId?.startsWith(CAUSEWAY_ID) ? 'causeway' : 'viewers'
    wire.from = from
    if (from !== 'host') this.met++
    wire.on('download', (n) => {
      this.came[from] += n
      if (from !== 'host') this.directAt = performance.now()
    })
    wire.on('upload', (n) => { if (from !== 'host') this.gave += n })
  }

  #onVerified (index) {
    const run = this.waiting.get(index)
    if (!run) return
    this.waiting.delete(index)
    for (const resume of run) resume()
  }

  // want has files fetched whole, beside what readers wait for, as far as they may be kept.
  want (index) {
    const file = this.torrent.files[index]
    if (!file?.length || this.wanted.has(index)) return
    if (this.torrent.pieceLength + file.length > this.state.limit) return // it plays by windows
    this.wanted.add(index)
    this.torrent._select(file._startPiece, file._endPiece, 0)
  }

  unwantOthers (index) {
    for (const other of [...this.wanted]) {
      if (other === index) continue
      const file = this.torrent.files[other]
      if (!file.done) this.torrent._deselect(file._startPiece, file._endPiece)
      this.wanted.delete(other)
    }
    // Neighbours share a piece with what was let go.
    this.wanted.delete(index)
    this.want(index)
  }

  // reader opens a file for reading in order from an offset.
  reader (index, offset = 0, { urgent = true } = {}) {
    const reader = new Reader(this, this.torrent.files[index], offset, urgent)
    this.readers.add(reader)
    return reader
  }

  whenVerified (piece, signal) {
    if (this.torrent.bitfield.get(piece)) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const run = this.waiting.get(piece) ?? []
      run.push(resolve)
      this.waiting.set(piece, run)
      signal?.addEventListener('abort', () => reject(new Error('no longer wanted')), { once: true })
    })
  }

  piece (index, offset, length) {
    return new Promise((resolve, reject) => {
      this.torrent.store.get(index, { offset, length }, (error, data) => error ? reject(error) : resolve(data))
    })
  }

  // lost marks a piece that the store no longer has; it is fetched again if it is wanted
  // and did not have to make room.
  lost (index, again = true) {
    if (!this.torrent.bitfield.get(index)) return
    this.torrent._markUnverified(index)
    this.torrent._reservations[index] = []
    this.torrent.done = false
    for (const wire of this.torrent.wires) wire.lt_donthave?.donthave(index)
    for (const w of again ? this.wanted : []) {
      if (this.torrent.files[w].includes(index)) this.torrent._select(index, index, 0)
    }
  }

  // #decide holds the host back or lets it give, and makes room in the store.
  #decide () {
    const { torrent, host } = this
    if (torrent.destroyed || !host) return
    this.decided++
    const now = performance.now()
    const direct = torrent.wires.filter((w) => w.type !== 'webSeed')
    const able = direct.some((w) => !w.peerChoking && w.peerPieces)
    const delivering = now - (this.directAt ?? -Infinity) < PATIENCE
    if (able && !this.ableSince) this.ableSince = now
    if (!able) this.ableSince = 0
    let starving = false
    for (const reader of this.readers) if (reader.starving(now)) starving = true
    // Once Causeway gives over WebRTC, or viewers give enough, HTTP is for emergencies.
    if (!host.held) this.overHTTP = Math.max(this.overHTTP * FORGETTING, host.downloadSpeed())
    const rate = direct.reduce((sum, w) => sum + w.downloadSpeed(), 0)
    const enough = direct.some((w) => w.from === 'causeway' && !w.peerChoking) || rate > this.overHTTP / 2
    host.hold(able && enough && !starving && (delivering || now - this.ableSince < PATIENCE))
    if (this.state.bytes > this.state.limit) this.#makeRoom()
    const tracker = torrent.discovery?.tracker
    const socket = tracker?._trackers?.[0]?.socket
    this.trackerThere = !!socket?.connected
    if (!this.trackerThere && now - (this.askedAt ?? now) > TRACKER_RETRY && this.engine.hostThere !== false) this.reannounce()
    if (this.trackerThere || this.askedAt === undefined) this.askedAt = now
  }

  // #makeRoom drops the pieces that are farthest behind what is being read, then those
  // farthest ahead.
  #makeRoom () {
    // What was wanted whole when there was more room comes by windows now.
    for (const index of [...this.wanted]) {
      const file = this.torrent.files[index]
      if (file.length < this.state.limit) continue
      this.torrent._deselect(file._startPiece, file._endPiece)
      this.wanted.delete(index)
    }
    const at = Math.min(...[...this.readers].map((r) => r.piece), Infinity)
    const pieces = [...this.state.sizes.keys()].sort((a, b) => a - b)
    const behind = pieces.filter((p) => p < at)
    const order = [...behind, ...pieces.filter((p) => p >= at).reverse()]
    for (const index of order) {
      if (this.state.bytes <= this.state.limit * 0.95) return
      if ([...this.readers].some((r) => r.covers(index))) continue
      this.state.store.drop(index)
      this.lost(index, false)
    }
  }

  // reannounce asks the tracker anew: the socket was lost, or the host has come back.
  // webtorrent itself would wait for up to five minutes.
  reannounce () {
    const { discovery } = this.torrent ?? {}
    if (!discovery || discovery.destroyed) return
    this.askedAt = performance.now()
    const old = discovery.tracker
    discovery._announce = this.engine.share.announce ?? []
    discovery._trackerOpts = { ...discovery._trackerOpts, rtcConfig: rtc(this.engine.share) }
    old.removeAllListeners()
    old.on('error', () => {})
    old.on('warning', () => {})
    try { old.destroy(() => {}) } catch { /* its socket was gone already */ }
    discovery.tracker = discovery._createTracker()
  }

  // figures are what the page shows.
  figures () {
    const { torrent } = this
    const direct = torrent.wires.filter((w) => w.type !== 'webSeed')
    const sum = (list, what) => list.reduce((n, w) => n + w[what](), 0)
    const ours = direct.filter((w) => w.from === 'causeway')
    const viewers = direct.filter((w) => w.from === 'viewers')
    return {
      progress: torrent.progress, have: torrent.downloaded, length: torrent.length,
      down: torrent.downloadSpeed, up: torrent.uploadSpeed, kept: this.keptAtStart,
      host: { down: this.host?.downloadSpeed() ?? 0, held: this.host?.held, failing: this.host?.failing },
      causeway: { peers: ours.length, down: sum(ours, 'downloadSpeed'), up: sum(ours, 'uploadSpeed') },
      viewers: { peers: viewers.length, down: sum(viewers, 'downloadSpeed'), up: sum(viewers, 'uploadSpeed') },
      came: this.came, gave: this.gave, peers: direct.length, met: this.met, tracker: this.trackerThere, received: torrent.received,
      age: (performance.now() - this.opened) / 1000
    }
  }

  // availability is which parts of a file are here, as pairs of fractions.
  availability (index) {
    const { torrent } = this
    const file = torrent.files[index]
    const parts = []
    if (!file?.length) return parts
    let start = -1
    for (let p = file._startPiece; p <= file._endPiece + 1; p++) {
      const here = p <= file._endPiece && torrent.bitfield.get(p)
      if (here && start < 0) start = p
      if (!here && start >= 0) {
        const at = (piece) => Math.min(Math.max((piece * torrent.pieceLength - file.offset) / file.length, 0), 1)
        parts.push([at(start), at(p)])
        start = -1
      }
    }
    return parts
  }
}

// Reader reads one file in order, and wants what comes next before everything else.
class Reader {
  constructor (swarm, file, offset, urgent) {
    Object.assign(this, { swarm, file, offset, urgent, began: offset, chosen: [], used: performance.now(), blocked: 0 })
    this.stopper = new AbortController()
  }

  get piece () { return Math.floor((this.file.offset + this.offset) / this.swarm.torrent.pieceLength) }

  covers (index) { return this.chosen.some(([from, to]) => index >= from && index <= to) }

  // starving tells that someone waits for bytes that are not here yet.
  starving (now) {
    if (now - this.used > IDLE_AFTER && this.chosen.length && !this.blocked) this.#let()
    return this.urgent && this.blocked !== 0 && now - this.blocked > 400
  }

  // read returns the next bytes, or null at the end (exclusive).
  async read (end = this.file.length) {
    if (this.offset >= end || this.closed) return null
    const { swarm } = this
    const { torrent } = swarm
    for (let attempt = 0; ; attempt++) {
      this.used = performance.now()
      const piece = this.piece
      this.#want()
      if (!torrent.bitfield.get(piece)) {
        this.blocked = performance.now()
        torrent.critical(piece, Math.min(piece + 1, this.file._endPiece))
        await swarm.whenVerified(piece, this.stopper.signal)
        this.blocked = 0
      }
      this.used = performance.now()
      try {
        const data = await this.#verified(piece, Math.min(end, this.offset + READ))
        this.offset += data.length
        return data
      } catch (error) {
        if (this.closed || attempt > 2) throw error
      }
    }
  }

  // #verified reads on from a piece, as far as the next ones are here, too: each way to the
  // player costs some time, however little it brings.
  async #verified (first, end) {
    const { swarm, file } = this
    const { torrent } = swarm
    const from = file.offset + this.offset
    let last = first
    while ((last + 1) * torrent.pieceLength < file.offset + end && torrent.bitfield.get(last + 1)) last++
    const data = new Uint8Array(Math.min((last + 1) * torrent.pieceLength, file.offset + end) - from)
    const part = async (piece) => {
      const start = Math.max(piece * torrent.pieceLength, from)
      const length = Math.min((piece + 1) * torrent.pieceLength, from + data.length) - start
      try {
        data.set(await swarm.piece(piece, start - piece * torrent.pieceLength, length), start - from)
      } catch (error) {
        swarm.lost(piece)
        throw error
      }
    }
    await Promise.all(Array.from({ length: last - first + 1 }, (_, i) => part(first + i)))
    return data
  }

  // #want moves the windows along; those of one piece are not moved for each read.
  #want () {
    const piece = this.piece
    if (this.at === piece && this.chosen.length) return
    this.#let()
    this.at = piece
    const { torrent } = this.swarm
    const last = this.file._endPiece
    const bytes = Math.min(AHEAD_AT_FIRST + this.offset - this.began, AHEAD, this.swarm.state.limit / 3)
    const ahead = Math.max(Math.ceil(bytes / torrent.pieceLength), 4)
    const windows = this.urgent
      ? [[piece, piece, NOW], [piece + 1, piece + 2, NEXT], [piece + 3, piece + ahead, SOON]]
      : [[piece, piece + 3, SOON]]
    for (const [from, to, priority] of windows) {
      if (from > last) break
      const until = Math.min(to, last)
      torrent._select(from, until, priority, null, true)
      this.chosen.push([from, until])
    }
  }

  #let () {
    const { torrent } = this.swarm
    if (!torrent.destroyed) {
      // A selection that was begun has moved on, but keeps its bounds.
      for (const [from, to] of this.chosen) torrent._deselect(from, to, true)
    }
    this.chosen = []
  }

  close () {
    if (this.closed) return
    this.closed = true
    this.stopper.abort()
    this.#let()
    this.swarm.readers.delete(this)
  }
}

// seedFiles makes a torrent of files that were dropped, and seeds it: the other direction,
// "send me a file".
export function seedFiles (engine, files, name) {
  return new Promise((resolve, reject) => {
    const store = new DroppedStore(files)
    const torrent = engine.client.seed(files, {
      name, announceList: [engine.share.announce ?? []], createdBy: 'Causeway page', preloadedStore: store, storeCacheSlots: 4
    })
    torrent.once('metadata', () => store.of(torrent))
    torrent.on('warning', () => {})
    torrent.once('error', reject)
    torrent.once('seed', () => resolve(torrent))
  })
}
