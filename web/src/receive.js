// The place to drop files into: "send me a file". They become a torrent that this page
// seeds; the host fetches it over WebRTC, or, where that does not come about, takes it as
// an HTTP upload. See web/doc.go for the contract.
import { el, icon, nameOf, say } from './dom.js'
import { bytes, rate, left } from './words.js'

const DIRECT_WITHIN = 12_000 // ms for the host to begin fetching before files are uploaded
const ASK_EVERY = 1000 // ms
const BUSY = [409, 503] // answers to a torrent that is not taken where its files may be
const ATTEMPTS = 6 // uploads of one file, each going on where the last one broke off

export function dropZone (host, engineOf) {
  const { receive } = host.share
  const input = el('input', { type: 'file', multiple: true, id: 'send', class: 'unseen' })
  const list = el('ul', { class: 'sent', 'aria-live': 'polite' })
  const zone = el('section', { class: 'card drop', 'aria-labelledby': 'send-head' },
    icon('up'), el('h2', { id: 'send-head' }, 'Send files'),
    el('p', { class: 'quiet' }, `Drop files here, or choose them. ${bytes(receive.max_bytes)}${receive.max_files ? ` and ${receive.max_files} files` : ''} more are taken.`),
    el('label', { class: 'button primary', for: 'send' }, 'Choose files'), input, list)
  const take = (files) => {
    const chosen = [...files].filter((f) => f.size > 0 || f.type)
    const total = chosen.reduce((sum, f) => sum + f.size, 0)
    if (!chosen.length) return
    if (total > receive.max_bytes) return say(`That is ${bytes(total)}: more than is taken`)
    if (receive.max_files && chosen.length > receive.max_files) return say(`Those are ${chosen.length} files: more than are taken`)
    new Sending(host, engineOf(), chosen, list).run()
  }
  input.addEventListener('change', () => { take(input.files); input.value = '' })
  for (const name of ['dragover', 'dragenter']) document.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add('dropping') })
  document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) zone.classList.remove('dropping') })
  document.addEventListener('drop', (event) => { event.preventDefault(); zone.classList.remove('dropping'); take(event.dataTransfer.files) })
  return zone
}

class Sending {
  constructor (host, engine, files, list) {
    Object.assign(this, { host, engine, files, total: files.reduce((sum, f) => sum + f.size, 0) })
    this.status = el('span', { class: 'quiet' }, 'Preparing…')
    this.fill = el('span', {})
    this.bar = el('div', { class: 'progress', role: 'progressbar', 'aria-label': 'Sent', 'aria-valuemin': 0, 'aria-valuemax': 100 }, this.fill)
    list.prepend(el('li', {}, nameOf(files.length === 1 ? files[0].name : `${files[0].name} and ${files.length - 1} more`), this.bar, this.status))
    this.url = new URL(host.share.receive.url, document.baseURI).href
  }

  async run () {
    this.warn = (event) => event.preventDefault()
    addEventListener('beforeunload', this.warn)
    try {
      const sent = await this.direct()
      if (!sent) await this.upload()
      this.show(this.total)
      this.status.textContent = `Received. ${this.how}`
      this.bar.classList.add('done')
    } catch (error) {
      this.status.textContent = `Not sent: ${error.message}`
      this.bar.classList.add('failed')
    } finally {
      removeEventListener('beforeunload', this.warn)
    }
  }

  show (n, speed) {
    const part = this.total ? n / this.total : 1
    this.fill.style.setProperty('width', `${part * 100}%`)
    this.bar.setAttribute('aria-valuenow', Math.floor(part * 100))
    if (speed) this.status.textContent = [`${bytes(n)} of ${bytes(this.total)}`, rate(speed), left((this.total - n) / speed)].filter(Boolean).join(' · ')
  }

  // direct seeds the files and has the host fetch them; it returns false if it did not.
  async direct () {
    if (!this.engine || typeof RTCPeerConnection !== 'function') return false
    const { seedFiles } = await import('./engine.js')
    const name = this.files.length === 1 ? this.files[0].name : `Files of ${new Date().toISOString().slice(0, 10)}`
    const torrent = await seedFiles(this.engine, this.files, name)
    try {
      const response = await this.ask('POST', `${this.url}/torrent`, torrent.torrentFile, { 'content-type': 'application/x-bittorrent' })
        .catch((error) => { if (BUSY.includes(error.status)) return null; throw error })
      if (!response) return false
      const { id } = await response.json()
      this.status.textContent = 'Waiting for the other side to connect…'
      torrent.discovery?.tracker?.update() // the tracker may not have known it before
      const deadline = performance.now() + DIRECT_WITHIN
      let last = { at: performance.now(), n: 0 }
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, ASK_EVERY))
        const state = await (await this.ask('GET', `${this.url}/${id}`)).json()
        if (state.state === 'saved') { this.how = 'It went directly, from browser to computer, and was verified.'; return true }
        if (state.state === 'failed') throw new Error(state.message)
        const now = performance.now()
        if (state.received > last.n) {
          this.show(state.received, (state.received - last.n) / (now - last.at) * 1000)
          last = { at: now, n: state.received }
        }
        if (now > Math.max(deadline, last.at + DIRECT_WITHIN)) {
          await this.ask('DELETE', `${this.url}/${id}`).catch(() => {})
          return false
        }
      }
    } finally {
      torrent.destroy({ destroyStore: true })
    }
  }

  // upload sends the files over HTTP, each from where it broke off.
  async upload () {
    this.how = 'It was uploaded over HTTP.'
    const files = this.files.map((f) => ({ name: f.name, length: f.size }))
    const { id } = await (await this.ask('POST', `${this.url}/upload`, JSON.stringify({ files }), { 'content-type': 'application/json' })).json()
    let before = 0
    for (const [i, file] of this.files.entries()) {
      for (let attempt = 1; ; attempt++) {
        try {
          await this.put(`${this.url}/${id}/${i}`, file, before)
          break
        } catch (error) {
          if (attempt >= ATTEMPTS || error.final) throw error
          await new Promise((resolve) => setTimeout(resolve, 1000 * attempt))
        }
      }
      before += file.size
    }
    await this.ask('POST', `${this.url}/${id}/done`)
  }

  async put (url, file, before) {
    const state = await (await this.ask('GET', url)).json() // how much of it is there
    const from = Math.min(state.received ?? 0, file.size)
    if (from === file.size && file.size > 0) return
    await new Promise((resolve, reject) => {
      const request = new XMLHttpRequest()
      const began = performance.now()
      request.open('PUT', `${url}?offset=${from}`)
      request.setRequestHeader('x-causeway', 'page')
      request.upload.onprogress = ({ loaded }) => this.show(before + from + loaded, loaded / Math.max(performance.now() - began, 1) * 1000)
      request.onerror = () => reject(new Error('the connection broke off'))
      request.onload = () => request.status < 300 ? resolve() : reject(Object.assign(new Error(request.responseText.slice(0, 200) || `the host answered ${request.status}`), { final: request.status < 500 }))
      request.send(file.slice(from))
    })
  }

  // ask makes a request that other sites' pages cannot make: its header needs a preflight.
  async ask (method, url, body, headers = {}) {
    const response = await fetch(url, { method, body, headers: { 'x-causeway': 'page', ...headers } })
    if (!response.ok) throw Object.assign(new Error((await response.text()).slice(0, 200).trim() || `the host answered ${response.status}`), { status: response.status })
    return response
  }
}
