// The page's side of the service worker: URLs that read from the swarm.
import { plain } from './dom.js'
import { setInterval, clearInterval } from './timers.js'

const AWAKE_EVERY = 10_000 // ms: browsers stop a service worker that nobody talks to for 30 s
const REGISTER_WITHIN = 4_000 // ms

// page names this page among those of the site.
const page = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => (b % 36).toString(36)).join('')
const open = new Map() // path -> { length, type, name, read(start, end) -> async iterator }
let streaming = 0
let scope

// register starts the service worker, and returns whether URLs of this page work.
export async function register () {
  if (!('serviceWorker' in navigator)) return false
  try {
    const registration = await navigator.serviceWorker.register(new URL('sw.js', document.baseURI), { updateViaCache: 'none' })
    scope = registration.scope
    navigator.serviceWorker.addEventListener('message', answer)
    const controlled = new Promise((resolve) => {
      if (navigator.serviceWorker.controller) return resolve(true)
      navigator.serviceWorker.addEventListener('controllerchange', () => resolve(true), { once: true })
      setTimeout(() => resolve(!!navigator.serviceWorker.controller), REGISTER_WITHIN)
    })
    // After a reload past the cache, the worker is there but has let go of the page.
    registration.active?.postMessage('claim')
    return await controlled
  } catch {
    return false
  }
}

// publish gives content a URL: { length or undefined, type, name, read(start, end) }. The
// path names it; publishing it again replaces it.
export function publish (path, content) {
  open.set(path, content)
  return new URL(`~/${page}/${path}`, scope).href
}

export function unpublish (path) { open.delete(path) }

function answer ({ data, ports: [port] }) {
  if (data?.to !== page || !port) return
  const content = open.get(data.path)
  if (!content) {
    port.postMessage({ status: 404, headers: {}, body: false })
    return
  }
  const { length } = content
  const range = length === undefined ? null : parseRange(data.range, length)
  if (range === 'bad') {
    port.postMessage({ status: 416, headers: { 'content-range': `bytes */${length}` }, body: false })
    return
  }
  const start = range?.start ?? 0
  const end = range?.end ?? length
  const headers = {
    'content-type': content.type || 'application/octet-stream',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    'content-security-policy': "sandbox; default-src 'none'",
    'cross-origin-resource-policy': 'same-origin'
  }
  if (length !== undefined) {
    headers['content-length'] = String(end - start)
    headers['accept-ranges'] = 'bytes'
  }
  if (range) headers['content-range'] = `bytes ${start}-${end - 1}/${length}`
  // Whatever is opened as a page of its own is saved: it must not act as one of ours.
  if (content.save || ['document', 'iframe', 'embed', 'object'].includes(data.destination)) {
    headers['content-disposition'] = `attachment; filename*=UTF-8''${encodeName(content.name)}`
    if (!content.save) headers['content-type'] = 'application/octet-stream'
  }
  const body = data.method === 'GET' && end !== start
  port.postMessage({ status: range ? 206 : 200, headers, body })
  if (body) pump(port, content.read(start, end))
}

function pump (port, iterator) {
  streaming++
  keepAwake()
  let ended = false
  const finish = () => {
    if (ended) return
    ended = true
    streaming--
    port.onmessage = null
    iterator.return?.()
  }
  port.onmessage = async ({ data }) => {
    if (data === 'stop') return finish()
    try {
      const { value, done } = await iterator.next()
      if (ended) return
      if (done) { port.postMessage(null); finish(); return }
      const own = value.slice() // the store goes on using its own
      port.postMessage(own, [own.buffer])
    } catch (error) {
      if (!ended) port.postMessage({ error: String(error?.message ?? error) })
      finish()
    }
  }
}

function keepAwake () {
  if (keepAwake.timer) return
  keepAwake.timer = setInterval(() => {
    if (!streaming) { clearInterval(keepAwake.timer); keepAwake.timer = null; return }
    navigator.serviceWorker.controller?.postMessage('awake')
  }, AWAKE_EVERY)
}

// parseRange reads one range of RFC 9110; other forms are answered whole.
export function parseRange (header, length) {
  const m = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  if (!m || (!m[1] && !m[2])) return null
  let start = m[1] ? Number(m[1]) : Math.max(length - Number(m[2]), 0)
  const end = m[1] && m[2] ? Math.min(Number(m[2]) + 1, length) : length
  if (start >= length || start >= end) return 'bad'
  start = Math.max(start, 0)
  return { start, end }
}

const encodeName = (name) => encodeURIComponent(plain(name).replace(/[\\/:*?"<>|]/g, '_').slice(0, 200) || 'file')
  .replace(/['()*]/g, (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase())
