// The service worker: answers /~/<page>/... with what that page reads from its swarm, so
// that <video>, <img> and downloads use the swarm as if it were a server. It keeps nothing
// and caches nothing; pages of this site only can reach it.

const ANSWER_WITHIN = 20_000 // ms for a page to say that it has the file

self.addEventListener('install', () => self.skipWaiting())
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()))
self.addEventListener('message', (event) => {
  if (event.data === 'claim') event.waitUntil(self.clients.claim())
  // Anything else is a page that keeps us awake while it streams.
})

self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url)
  const at = /^\/~\/([0-9a-z]{8,40})\/(.+)$/.exec(url.pathname.slice(new URL(self.registration.scope).pathname.length - 1))
  if (url.origin !== self.location.origin || !at) return
  event.respondWith(serve(event.request, at[1], at[2]))
})

async function serve (request, page, path) {
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(405, 'only GET and HEAD')
  const clients = await self.clients.matchAll({ type: 'window', includeUncontrolled: true })
  const channel = new MessageChannel()
  const head = await new Promise((resolve) => {
    const timer = setTimeout(resolve, ANSWER_WITHIN)
    const ports = [channel]
    const answered = ({ data }, port) => { clearTimeout(timer); resolve({ ...data, port }) }
    channel.port1.onmessage = (event) => answered(event, channel.port1)
    const message = { to: page, path, range: request.headers.get('range'), method: request.method, destination: request.destination }
    clients.forEach((client, i) => {
      if (i > 0) {
        const more = new MessageChannel()
        more.port1.onmessage = (event) => answered(event, more.port1)
        ports.push(more)
      }
      client.postMessage(message, [ports[i].port2])
    })
    if (!clients.length) resolve()
  })
  if (!head) return refuse(504, 'the page that had this is closed')
  const { status, headers, body, port } = head
  if (!body) { port.close(); return new Response(null, { status, headers }) }
  return new Response(new ReadableStream({
    pull (controller) {
      return new Promise((resolve, reject) => {
        port.onmessage = ({ data }) => {
          if (data?.error) { reject(new Error(data.error)); port.close(); return }
          if (data) controller.enqueue(data)
          else { controller.close(); port.close() }
          resolve()
        }
        port.postMessage('more')
      })
    },
    cancel () { port.postMessage('stop'); port.close() }
  }, { highWaterMark: 1 }), { status, headers })
}

const refuse = (status, text) => new Response(text, { status, headers: { 'content-type': 'text/plain' } })
