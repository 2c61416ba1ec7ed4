// One file of a torrent, wherever its bytes come from: the swarm where there is an engine
// and a service worker, else HTTP ranges of the host.
import { publish, unpublish } from './streams.js'

const TYPES = { // what browsers want to hear, where the host says something else or nothing
  mkv: 'video/x-matroska', webm: 'video/webm', mp4: 'video/mp4', m4v: 'video/mp4', mov: 'video/quicktime'
}

export class Source {
  constructor (torrent, file, swarm) {
    Object.assign(this, { torrent, file, swarm })
    this.name = file.path.slice(file.path.lastIndexOf('/') + 1)
    this.length = file.length
    this.type = file.type || TYPES[extension(this.name)] || 'application/octet-stream'
  }

  get direct () { return !this.swarm }

  // url is what a media element or an image plays.
  get url () {
    if (!this.swarm) return this.file.url
    this.path ??= `${this.torrent.infohash}/${this.file.index}` // a name may be anything, so it is not in it
    return publish(this.path, { length: this.length, type: this.type, name: this.name, read: (start, end) => this.chunks(start, end) })
  }

  // saveURL is what downloads the whole file.
  get saveURL () {
    if (!this.swarm) return this.file.url + (this.file.url.includes('?') ? '&' : '?') + 'download=1'
    return publish(`save/${this.torrent.infohash}/${this.file.index}`, {
      length: this.length, type: 'application/octet-stream', name: this.name, save: true,
      read: (start, end) => this.chunks(start, end, { urgent: false })
    })
  }

  // chunks yields the bytes of [start, end) in order.
  async * chunks (start = 0, end = this.length, options) {
    if (start >= end) return
    if (!this.swarm) {
      const response = await fetch(this.file.url, { headers: { range: `bytes=${start}-${end - 1}` } })
      if (response.status !== 206 && !(response.status === 200 && start === 0 && end === this.length)) throw new Error(`the host answered ${response.status}`)
      const reader = response.body.getReader()
      try {
        for (;;) {
          const { value, done } = await reader.read()
          if (done) return
          yield value
        }
      } finally { reader.cancel().catch(() => {}) }
    }
    const reader = this.swarm.reader(this.file.index, start, options)
    try {
      for (;;) {
        const data = await reader.read(end)
        if (!data) return
        yield data
      }
    } finally { reader.close() }
  }

  // bytes returns those of [start, end) as one array.
  async bytes (start = 0, end = this.length) {
    const all = new Uint8Array(end - start)
    let at = 0
    for await (const chunk of this.chunks(start, end)) { all.set(chunk, at); at += chunk.length }
    if (at !== all.length) throw new Error('the file ended early')
    return all
  }

  close () { if (this.path) unpublish(this.path) }
}


export const extension = (name) => (/\.([^./]{1,8})$/.exec(name)?.[1] ?? '').toLowerCase()
