// Pieces kept in the browser's own storage (OPFS), so that a reload fetches nothing again:
// one file per piece, pieces/<infohash>/<index>. Files are replaced as a whole, so that
// pages that have the same torrent open may share them. Whatever is read is verified again
// by the engine when it starts.
//
// It speaks the interface of abstract-chunk-store, as webtorrent wants it.

// MAX_KEPT bounds what all torrents of this site keep, in bytes, whatever the browser would
// give; QUOTA_SHARE is the part of what it gives that is taken.
export const MAX_KEPT = 8e9
const QUOTA_SHARE = 0.5
// MAX_IN_MEMORY bounds what is kept where there is no storage, as in a private window.
const MAX_IN_MEMORY = 600e6
// MAX_UNWRITTEN bounds the pieces that wait to be written, in bytes.
const MAX_UNWRITTEN = 32e6
// MAX_RECENT bounds the written pieces that stay in memory for who reads soon after, in bytes; and
// so many are written at a time: in Firefox a read waits for all writes that came before it.
const MAX_RECENT = 24e6
const WRITERS = 4

const FOLDER = 'pieces'
// WRITING is a lock that all pages of this site share while they write: a folder with a file that
// is being written cannot be removed.
const WRITING = 'causeway.writing'

async function folder (create) {
  const root = await navigator.storage.getDirectory()
  return root.getDirectoryHandle(FOLDER, { create })
}

// room says how many bytes may be kept.
export async function room () {
  try {
    const { quota = 0 } = await navigator.storage.estimate()
    return Math.min(quota * QUOTA_SHARE, MAX_KEPT)
  } catch { return 0 }
}

// openStore prepares the place of one torrent: its pieces are listed, and the torrents that
// were longest unused make room.
export async function openStore (infohash, length) {
  const state = { handle: null, sizes: new Map(), limit: MAX_IN_MEMORY }
  try {
    if (!('createWritable' in FileSystemFileHandle.prototype)) return state
    const all = await folder(true)
    state.limit = await room()
    state.handle = await all.getDirectoryHandle(infohash, { create: true })
    for await (const [name, file] of state.handle.entries()) {
      if (/^\d+$/.test(name) && file.kind === 'file') state.sizes.set(Number(name), -1)
    }
    touch(infohash)
    await makeRoom(all, infohash, Math.min(length, state.limit), state.limit)
  } catch {
    state.handle = null
    state.sizes.clear()
    state.limit = MAX_IN_MEMORY
  }
  return state
}

// makeRoom removes the torrents that were used longest ago until the rest and what is
// needed fit.
async function makeRoom (all, keep, needed, limit) {
  const used = remembered()
  const others = []
  let total = needed
  for await (const [name, dir] of all.entries()) {
    if (name === keep || dir.kind !== 'directory') continue
    const size = used[name]?.bytes ?? 0
    others.push([name, used[name]?.at ?? 0, size])
    total += size
  }
  others.sort((a, b) => a[1] - b[1])
  for (const [name, , size] of others) {
    if (total <= limit) return
    await all.removeEntry(name, { recursive: true }).catch(() => {})
    total -= size
    forgetUse(name)
  }
}

const USED = 'causeway.kept'
const remembered = () => { try { return JSON.parse(localStorage.getItem(USED)) ?? {} } catch { return {} } }
function remember (used) { try { localStorage.setItem(USED, JSON.stringify(used)) } catch { /* full or off */ } }
function touch (infohash, bytes) {
  const used = remembered()
  used[infohash] = { at: Date.now(), bytes: bytes ?? used[infohash]?.bytes ?? 0 }
  remember(used)
}
function forgetUse (infohash) { const used = remembered(); delete used[infohash]; remember(used) }

// kept says how many bytes of all torrents this site keeps, as last counted.
export const kept = () => Object.values(remembered()).reduce((sum, { bytes }) => sum + (bytes || 0), 0)

// forgetAll removes everything that is kept. It fails where that cannot be.
export async function forgetAll () {
  try {
    const root = await navigator.storage.getDirectory()
    await navigator.locks.request(WRITING, () => root.removeEntry(FOLDER, { recursive: true }))
  } catch (error) {
    if (error.name !== 'NotFoundError') throw error // there is nothing
  }
  try { localStorage.removeItem(USED) } catch { /* off */ }
}

// storeOver makes the class that webtorrent creates its store of.
export function storeOver (state, infohash) {
  return class KeptStore {
    constructor (chunkLength, { length }) {
      this.chunkLength = chunkLength
      this.length = length
      this.memory = new Map() // what is not written
      this.recent = new Map() // what was, of late
      this.recentSlots = Math.floor(MAX_RECENT / chunkLength)
      this.writers = Array(WRITERS).fill(Promise.resolve())
      this.unwritten = 0
      state.store = this
      state.bytes = state.sizes.size * chunkLength
    }

    #size (index) { return Math.min(this.chunkLength, this.length - index * this.chunkLength) }

    // put is done when the piece can be read: it is written from memory, for the first
    // picture should not wait for the storage; but no more than MAX_UNWRITTEN at a time.
    put (index, piece, done = () => {}) {
      if (!state.sizes.has(index)) state.bytes += piece.length
      state.sizes.set(index, piece.length)
      this.memory.set(index, piece)
      this.recent.delete(index)
      if (!state.handle) return queueMicrotask(() => done(null))
      this.unwritten += piece.length
      const writer = index % WRITERS
      const written = this.writers[writer] = this.writers[writer].then(() => this.#write(index, piece))
      if (this.unwritten < MAX_UNWRITTEN) queueMicrotask(() => done(null))
      else written.then(() => done(null))
    }

    async #write (index, piece) {
      try {
        await navigator.locks.request(WRITING, { mode: 'shared' }, async () => {
          const file = await state.handle.getFileHandle(String(index), { create: true })
          const out = await file.createWritable()
          await out.write(piece)
          await out.close()
        })
        if (this.memory.get(index) === piece) {
          this.memory.delete(index)
          this.recent.set(index, piece)
          if (this.recent.size > this.recentSlots) this.recent.delete(this.recent.keys().next().value)
        }
        if (!state.sizes.has(index)) await state.handle.removeEntry(String(index)) // dropped meanwhile
        touchSoon(state, infohash)
      } catch { // the storage is full, or was emptied by "forget": the piece stays in memory
        state.limit = Math.min(state.limit, MAX_IN_MEMORY)
      }
      this.unwritten -= piece.length
    }

    get (index, opts, done) {
      if (typeof opts === 'function') [opts, done] = [null, opts]
      this.#get(index, opts?.offset ?? 0, opts?.length).then((part) => done(null, part), done)
    }

    async #get (index, offset, length = this.#size(index) - offset) {
      const held = this.memory.get(index) ?? this.recent.get(index)
      if (held) return held.subarray(offset, offset + length)
      if (!state.handle || !state.sizes.has(index)) throw new Error('this piece is not kept')
      const file = await (await state.handle.getFileHandle(String(index))).getFile()
      if (file.size !== this.#size(index)) throw new Error('this piece is kept in part only')
      return new Uint8Array(await file.slice(offset, offset + length).arrayBuffer())
    }

    // drop forgets one piece, to make room.
    drop (index) {
      if (!state.sizes.delete(index)) return
      state.bytes -= this.#size(index)
      this.memory.delete(index)
      this.recent.delete(index)
      state.handle?.removeEntry(String(index)).catch(() => {})
    }

    close (done = () => {}) { done(null) }

    destroy (done = () => {}) {
      this.memory.clear()
      this.recent.clear()
      folder(false).then((all) => all.removeEntry(infohash, { recursive: true })).then(() => done(null), () => done(null))
    }
  }
}

const TOUCH_EVERY = 3000 // ms
function touchSoon (state, infohash) {
  if (state.touching) return
  state.touching = setTimeout(() => { state.touching = null; touch(infohash, state.bytes) }, TOUCH_EVERY)
}
