// The program that shares: its description of what there is (share.json), and what it says
// of both swarms meanwhile (status.json). See web/doc.go for the contract.

const STATUS_EVERY = 2000 // ms; hidden pages ask as often as browsers let them
const RETRY = [1000, 2000, 3000, 5000] // ms between attempts while it is gone
const ANSWER_WITHIN = 8000 // ms

export class Host extends EventTarget {
  constructor () {
    super()
    this.share = null
    this.status = null
    this.there = true
    this.failures = 0
    this.figures = () => null // what this page got, in bytes: { host, viewers, http, given }
  }

  // #said is what the host is told with each question: which page load this is, and what it
  // got from whom.
  #said () {
    const { page } = this.share ?? {}
    return page ? '?' + new URLSearchParams({ page, ...this.figures() }) : ''
  }

  // load fetches the description; it throws what went wrong in words.
  async load () {
    const response = await ask('share.json' + this.#said())
    if (response.status === 410) throw new HostError('This share has ended.')
    if (response.status === 401 || response.status === 403) throw new HostError('This share asks for a password. Reload the page to enter it.')
    if (!response.ok) throw new HostError(`The host answered with an error (${response.status}).`)
    this.share = await response.json()
    return this.share
  }

  watch () {
    const next = (ms) => { this.timer = setTimeout(() => this.#poll().then(next), ms) }
    next(0)
    addEventListener('online', () => { clearTimeout(this.timer); next(0) })
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) return
      clearTimeout(this.timer)
      next(0)
    })
  }

  // #poll asks once, and returns after how many milliseconds to ask again.
  async #poll () {
    try {
      const response = await ask('status.json' + this.#said())
      if (response.status === 410) return this.#gone(true)
      if (!response.ok) throw new Error(response.status)
      this.status = await response.json()
      const changed = this.id !== undefined && this.status.run !== this.id
      this.id = this.status.run
      const back = !this.there || changed
      this.there = true
      this.failures = 0
      if (back) {
        try { await this.load() } catch { return RETRY[0] }
        this.dispatchEvent(new Event('back'))
      }
      this.dispatchEvent(new Event('status'))
      return STATUS_EVERY
    } catch {
      return this.#gone(false)
    }
  }

  #gone (ended) {
    this.failures++
    // One lost answer is no absence.
    if (this.failures >= 2 && this.there) {
      this.there = false
      this.ended = ended
      this.dispatchEvent(new Event('gone'))
    }
    return RETRY[Math.min(this.failures - 1, RETRY.length - 1)]
  }

  // of returns what the host last said of one torrent.
  of (infohash) { return this.status?.torrents?.find((t) => t.infohash === infohash) }
}

export class HostError extends Error {}

const ask = (name) => fetch(new URL(name, document.baseURI), {
  cache: 'no-store', signal: AbortSignal.timeout(ANSWER_WITHIN)
})
