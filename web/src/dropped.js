// The store of a torrent that is made of dropped files: its pieces are read from them
// whenever somebody asks, and nothing is copied.
export class DroppedStore {
  constructor (files) { this.given = files }

  // of tells which file lies where, once the torrent is made.
  of (torrent) {
    this.chunkLength = torrent.pieceLength
    this.length = torrent.length
    const left = [...this.given]
    this.parts = torrent.files.map(({ offset, length, name }) => {
      const at = left.findIndex((f) => f.size === length && f.name === name)
      const [file] = left.splice(at < 0 ? left.findIndex((f) => f.size === length) : at, 1)
      return { offset, length, file }
    })
  }

  get (index, opts, done) {
    if (typeof opts === 'function') [opts, done] = [null, opts]
    const from = index * this.chunkLength + (opts?.offset ?? 0)
    const to = Math.min(opts?.length ? from + opts.length : (index + 1) * this.chunkLength, this.length)
    const slices = []
    for (const { offset, length, file } of this.parts) {
      const a = Math.max(from, offset)
      const b = Math.min(to, offset + length)
      if (a < b) slices.push(file.slice(a - offset, b - offset))
    }
    new Blob(slices).arrayBuffer().then((data) => done(null, new Uint8Array(data)), done)
  }

  put (index, piece, done) { done(new Error('these files are only read')) }
  close (done = () => {}) { done(null) }
  destroy (done = () => {}) { done(null) }
}
