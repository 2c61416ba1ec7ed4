// What tests do in a page, as a viewer would; each returns what it found.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { createRequire } from 'node:module'

const axePath = createRequire(import.meta.url).resolve('axe-core/axe.min.js')
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// until waits for a condition in the page, and returns its value.
async function until (page, what, condition, ...args) {
  for (const end = Date.now() + 20_000; ;) {
    const value = await page.evaluate(condition, ...args).catch((error) => { if (/context|navigat/i.test(error.message)) return null; throw error })
    if (value) return value
    if (Date.now() > end) throw new Error(`in vain: ${what}\n${await page.evaluate(() => document.body.innerText)}`)
    await pause(40)
  }
}

const frame = (page) => until(page, 'a first frame', () => {
  const v = document.querySelector('video')
  return v && v.readyState >= 2 && { at: performance.now(), width: v.videoWidth, duration: v.duration }
})
const figures = (page) => page.evaluate(() => {
  const swarm = globalThis.causeway && [...causeway.engine.swarms.values()][0]
  return swarm?.torrent?.ready ? JSON.parse(JSON.stringify(swarm.figures())) : null
})
const notice = (page) => page.$eval('.notice', (n) => n.hidden ? '' : n.textContent)

async function seek (page, part) {
  return page.evaluate(async (part) => {
    const v = document.querySelector('video')
    const seeked = new Promise((resolve) => v.addEventListener('seeked', resolve, { once: true }))
    const began = performance.now()
    const range = document.querySelector('.seek')
    range.value = part * 1000
    range.dispatchEvent(new Event('input'))
    range.dispatchEvent(new Event('change'))
    await seeked
    return { took: performance.now() - began, at: v.currentTime }
  }, part)
}

// plays opens a file, waits for its picture, plays, seeks, and looks at the subtitles.
export async function plays ({ instance, open, url, tracks = true, direct = true }) {
  const page = await open(url)
  const first = await frame(page)
  const marks = await page.evaluate(() => Object.fromEntries(performance.getEntriesByType('mark').map((m) => [m.name, Math.round(m.startTime)])))
  first.at = marks['first frame']
  await page.$eval('.player .big', (b) => b.click())
  await until(page, 'playing', () => document.querySelector('video').currentTime > 0.7)
  const cue = !tracks ? '' : await until(page, 'a subtitle', () => document.querySelector('.cues').textContent)
  const sought = await seek(page, 0.8)
  await until(page, 'playing after the seek', () => { const v = document.querySelector('video'); return !v.paused && v.currentTime > v.duration * 0.8 + 0.2 })
  if (direct) await until(page, 'a direct connection', () => [...causeway.engine.swarms.values()][0]?.figures().met > 0)
  const video = await page.$eval('video', (v) => ({ src: v.currentSrc, error: v.error?.message, decoded: v.webkitAudioDecodedByteCount, hasAudio: v.mozHasAudio }))
  const found = { first, marks, cue, sought, video, figures: await figures(page), notice: await notice(page) }
  // On a busy machine, somebody else may have had the processor: the best of three visits counts.
  for (let again = 0; again < 2 && (first.at > 2000 || sought.took > 1000); again++) {
    const context = await instance.createBrowserContext()
    const other = await context.newPage()
    await other.goto(url)
    await frame(other)
    first.at = Math.min(first.at, await other.evaluate(() => performance.getEntriesByName('first frame')[0].startTime))
    sought.took = Math.min(sought.took, (await seek(other, 0.8)).took)
    await context.close()
  }
  return found
}

// downloads saves the file, and returns its hash.
export async function downloads ({ instance, browser, open, url, folder, selector = '#download', name }) {
  if (browser === 'chromium') {
    const session = await instance.target().createCDPSession()
    await session.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: folder })
  }
  const page = await open(url)
  await until(page, 'the button', (s) => !!document.querySelector(s), selector)
  await until(page, 'a ready engine', () => globalThis.causeway && [...causeway.engine.swarms.values()][0]?.torrent?.ready)
  await page.$eval(selector, (b) => { b.closest('details')?.setAttribute('open', ''); b.click() })
  for (const end = Date.now() + 40_000; ;) {
    const there = existsSync(folder) ? readdirSync(folder) : []
    const file = there.find((f) => f === name)
    if (file && !there.some((f) => /\.(crdownload|part)$/.test(f))) {
      const content = readFileSync(path.join(folder, file))
      if (content.length) return { name: file, length: content.length, sha256: createHash('sha256').update(content).digest('hex') }
    }
    if (Date.now() > end) throw new Error(`no download of ${name}: ${there}, ${JSON.stringify(await figures(page))}`)
    await pause(100)
  }
}

// reloads fetches all of a file, reloads the page, and says what was fetched each time.
export async function reloads ({ open, url }) {
  const page = await open(url)
  const whole = () => until(page, 'the whole file', () => {
    const swarm = globalThis.causeway && [...causeway.engine.swarms.values()][0]
    return swarm?.torrent?.ready && swarm.torrent.progress === 1
  })
  await whole()
  // The last pieces are being written.
  await until(page, 'all of it in the store', () => { const s = [...causeway.engine.swarms.values()][0]; return s.state.sizes.size === s.torrent.pieces.length && ![...s.state.sizes.values()].includes(-1) && s.state.store.memory.size === 0 })
  const before = await figures(page)
  await page.reload()
  await whole()
  await frame(page)
  await pause(1500) // whatever it fetched again, it would have begun
  return { before, after: await figures(page), kept: await page.$eval('#kept', (k) => k.textContent) }
}

// hides measures the rate of a transfer in a visible page, and then with another in front.
export async function hides ({ instance, open, url }) {
  const page = await open(url)
  await until(page, 'a transfer', () => {
    const swarm = globalThis.causeway && [...causeway.engine.swarms.values()][0]
    return swarm?.torrent?.ready && swarm.came.causeway > 1e6 && (swarm.want(0), true)
  })
  const session = await page.createCDPSession()
  const came = async () => {
    const { result } = await session.send('Runtime.evaluate', { expression: '(() => { const s = [...causeway.engine.swarms.values()][0]; const wire = s.torrent.wires.find((w) => w.from !== "host"); return JSON.stringify([s.came.causeway, performance.now(), document.visibilityState, s.torrent.progress, s.decided, s.torrent._rechokeIntervalId > 1e9 && wire._keepAliveInterval > 1e9]) })()' })
    return JSON.parse(result.value)
  }
  const measure = async () => {
    const [n, at, state, , ticks] = await came()
    await pause(6000)
    const [m, then, end, progress, later, ours] = await came()
    return { rate: (m - n) / (then - at) * 1000, state: [state, end], progress, ticks: (later - ticks) / (then - at) * 1000, ours }
  }
  const visible = await measure()
  const other = await instance.newPage()
  await other.goto('about:blank')
  await other.bringToFront()
  await until({ evaluate: async () => (await came())[2] === 'hidden' }, 'a hidden page')
  await pause(1500)
  const hidden = await measure()
  return { visible, hidden }
}

// judges has axe-core look at the page in each of its states.
export async function judges ({ open, url, hashes = [''], dark, phone, shots }) {
  const page = await open(url + hashes[0], async (p) => { if (dark) await p.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]) })
  await page.setBypassCSP(true)
  const violations = []
  let passes = 0
  for (const [i, hash] of hashes.entries()) {
    await page.goto('about:blank')
    await page.goto(url + hash)
    await until(page, 'content', () => !!document.querySelector('main[aria-busy=false]') && document.querySelector('h1')?.textContent)
    if (shots?.[i]) {
      await frame(page).catch(() => {})
      await pause(shots.wait ?? 1500)
      await page.screenshot({ path: shots[i] })
    }
    await page.evaluate(readFileSync(axePath, 'utf8'))
    for (const open of [false, true]) {
      if (open) await page.evaluate(() => document.querySelectorAll('details').forEach((d) => { d.open = true }))
      const result = await page.evaluate(() => axe.run(document))
      passes += result.passes.length
      for (const v of result.violations) violations.push(`${hash} ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | ')}`)
    }
  }
  return { violations, passes }
}

// names looks for what hostile names did to the page.
export async function names ({ open, url }) {
  const page = await open(url)
  await until(page, 'the list', () => document.querySelectorAll('.files .open').length > 3)
  await page.evaluate(() => document.querySelectorAll('details').forEach((d) => { d.open = true }))
  await pause(300)
  return page.evaluate(() => ({
    attacked: globalThis.attacked === true,
    images: document.querySelectorAll('main .files img, h1 img').length,
    scripts: document.querySelectorAll('script').length,
    names: [...document.querySelectorAll('.files .name')].map((n) => n.textContent),
    isolated: [...document.querySelectorAll('.files .name')].every((n) => n.tagName === 'BDI'),
    tallest: Math.max(...[...document.querySelectorAll('.files .open')].map((n) => n.getBoundingClientRect().height)),
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth
  }))
}

// says waits for what the page says of a trouble, while a file plays all the same.
export async function says ({ open, url, words, noEngine }) {
  const page = await open(url, noEngine ? (p) => p.evaluateOnNewDocument(noEngine) : undefined)
  await frame(page)
  const said = await until(page, words, (words) => { const n = document.querySelector('.notice'); return n && !n.hidden && n.textContent.includes(words) && n.textContent }, words)
  await page.$eval('.player .big', (b) => b.click())
  await until(page, 'playing', () => document.querySelector('video').currentTime > 0.5)
  return { said, figures: await figures(page) }
}

// shares opens a file in some pages, one after the other: of profiles that share nothing, or
// in tabs of one window.
export async function shares ({ instance, url, pages = 3, tabs = false }) {
  const opened = []
  for (let i = 0; i < pages; i++) {
    const context = tabs ? instance.defaultBrowserContext() : await instance.createBrowserContext()
    const page = await context.newPage()
    await page.goto(url)
    opened.push(page)
    if (i === 0) await until(page, 'a half', () => { const s = globalThis.causeway && [...causeway.engine.swarms.values()][0]; return s?.torrent?.ready && s.torrent.progress > 0.4 })
  }
  for (const page of opened) await until(page, 'the whole file', () => { const s = globalThis.causeway && [...causeway.engine.swarms.values()][0]; return s?.torrent?.ready && s.torrent.progress === 1 })
  return { pages: await Promise.all(opened.map(figures)) }
}

// asksAgain asks the host for a block twice, with a choke between, while it is on its way.
export async function asksAgain ({ open, url }) {
  const page = await open(url)
  await until(page, 'the host as a seed', () => globalThis.causeway && [...causeway.engine.swarms.values()][0]?.torrent?.wires?.some((w) => w.type === 'webSeed'))
  return page.evaluate(async () => {
    const swarm = [...causeway.engine.swarms.values()][0]
    const { host, torrent } = swarm
    const wire = torrent.wires.find((w) => w.type === 'webSeed')
    const hold = Object.getPrototypeOf(host).hold.bind(host)
    host.hold = () => {} // the engine has its own opinion
    const answer = () => new Promise((resolve) => {
      wire.request(torrent.pieces.length - 1, 0, torrent.lastPieceLength, (err, block) => resolve(err ? err.message : block.length))
      setTimeout(() => resolve('nothing'), 15_000)
    })
    const open = async () => {
      hold(false)
      while (wire.peerChoking) await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await open()
    const first = answer()
    await new Promise((resolve) => setTimeout(resolve, 50))
    hold(true)
    const refused = await first
    await open()
    return { refused, given: await answer(), length: torrent.lastPieceLength }
  })
}

// recovers plays while the host goes away and comes back: the test does that when told.
export async function recovers ({ open, url }) {
  const page = await open(url)
  await frame(page)
  await until(page, 'a direct connection', () => [...causeway.engine.swarms.values()][0]?.figures().peers > 0)
  console.log(JSON.stringify({ say: 'stop' }))
  const gone = await until(page, 'words', () => { const n = document.querySelector('.notice'); return !n.hidden && n.textContent.includes('out of reach') && n.textContent })
  console.log(JSON.stringify({ say: 'start' }))
  await until(page, 'the host', () => causeway.host.there && document.querySelector('.notice').hidden)
  await until(page, 'the tracker and a peer', () => { const f = [...causeway.engine.swarms.values()][0].figures(); return f.tracker && f.met > 1 })
  await until(page, 'the whole file', () => [...causeway.engine.swarms.values()][0].torrent.progress === 1)
  return { gone }
}

// remembers plays a little, and opens the page again.
export async function remembers ({ open, url }) {
  const page = await open(url)
  await frame(page)
  await seek(page, 0.5)
  await page.$eval('.player .big', (b) => b.click())
  await until(page, 'playing', () => document.querySelector('video').currentTime > document.querySelector('video').duration / 2 + 1)
  const left = await page.$eval('video', (v) => { v.pause(); return v.currentTime })
  await page.reload()
  await frame(page)
  const at = await until(page, 'the place', () => document.querySelector('video').currentTime)
  const offered = await page.$eval('.resume', (r) => !r.hidden && r.textContent)
  await page.evaluate(() => document.querySelector('.resume button').click())
  await until(page, 'the start', () => document.querySelector('video').currentTime < 1)
  return { left, at, offered }
}

// keys plays by keyboard alone.
export async function keys ({ open, url }) {
  const page = await open(url)
  await frame(page)
  const read = () => page.$eval('video', (v) => ({ at: v.currentTime, paused: v.paused, muted: v.muted, rate: v.playbackRate }))
  const found = {}
  await page.keyboard.press('k')
  await until(page, 'playing', () => !document.querySelector('video').paused)
  await page.keyboard.press('k')
  await page.keyboard.press('5')
  await until(page, 'the middle', () => Math.abs(document.querySelector('video').currentTime - document.querySelector('video').duration / 2) < 0.5)
  await page.keyboard.press('ArrowRight')
  found.forward = await read()
  await page.keyboard.press('m')
  await page.keyboard.press('>')
  await page.keyboard.press('c')
  found.after = await read()
  found.captions = await page.$eval('video', (v) => [...v.textTracks].filter((t) => t.mode !== 'disabled').length)
  await page.keyboard.press('n')
  found.next = await until(page, 'the next file', () => location.hash)
  return found
}

// draws shows ASS subtitles, and looks for what was drawn.
export async function draws ({ open, url, file }) {
  const page = await open(url)
  await frame(page)
  const early = await page.evaluate(() => performance.getEntriesByType('resource').filter((r) => r.name.includes('subtitle.')).length)
  await page.evaluate((text) => {
    const data = new DataTransfer()
    data.items.add(new File([text], 'dropped.ass'))
    document.querySelector('.player').dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }))
  }, readFileSync(file, 'utf8'))
  await page.$eval('.player .big', (b) => b.click())
  await until(page, 'a canvas', () => !!document.querySelector('canvas.JASSUB'))
  await until(page, 'playing', () => document.querySelector('video').currentTime > 1.5)
  await page.evaluate(() => document.querySelector('video').pause())
  await pause(800)
  const yellow = await yellowPixels(page)
  return { early, yellow }
}

// yellowPixels counts the pixels of bright yellow in a picture of the player.
async function yellowPixels (page) {
  const shot = await (await page.$('.player')).screenshot({ encoding: 'base64' })
  await page.setBypassCSP(true)
  const other = await page.browser().newPage()
  await other.goto('about:blank')
  return other.evaluate(async (data) => {
    const image = new Image()
    image.src = `data:image/png;base64,${data}`
    await image.decode()
    const canvas = new OffscreenCanvas(image.width, image.height)
    const c = canvas.getContext('2d')
    c.drawImage(image, 0, 0)
    const { data: pixels } = c.getImageData(0, 0, image.width, image.height)
    let n = 0
    for (let i = 0; i < pixels.length; i += 4) if (pixels[i] > 220 && pixels[i + 1] > 220 && pixels[i + 2] < 60) n++
    return n
  }, shot)
}

// sends drops a file into the page, for the host.
export async function sends ({ open, url, name, length }) {
  const page = await open(url)
  await until(page, 'the place to drop into', () => !!document.querySelector('.drop'))
  await page.evaluate((name, length) => {
    const data = new DataTransfer()
    data.items.add(new File([new Uint8Array(length).map((_, i) => i * 7 % 251)], name))
    document.querySelector('.drop').dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }))
  }, name, length)
  const said = await until(page, 'a result', () => {
    const text = document.querySelector('.sent li .quiet')?.textContent
    return text && /Received|Not sent/.test(text) && text
  })
  return { said }
}

// shows opens files that are not played.
export async function shows ({ open, url, hashes }) {
  const page = await open(url + hashes[0])
  const text = await until(page, 'text', () => document.querySelector('.shown-text')?.textContent)
  await page.evaluate((hash) => { location.hash = hash }, hashes[1])
  const width = await until(page, 'an image', () => document.querySelector('.shown-image')?.naturalWidth)
  await page.evaluate((hash) => { location.hash = hash }, hashes[2])
  const card = await until(page, 'words', () => document.querySelector('.file-card')?.textContent)
  return { text, width, card }
}

// fallsBack opens the page where there is no secure context, or no bundle.
export async function fallsBack ({ open, url }) {
  const page = await open(url)
  await frame(page)
  await page.$eval('.player .big', (b) => b.click())
  await until(page, 'playing', () => document.querySelector('video').currentTime > 0.5)
  const sought = await seek(page, 0.7)
  return { notice: await until(page, 'words', () => { const n = document.querySelector('.notice'); return !n.hidden && n.textContent }), sought, src: await page.$eval('video', (v) => v.currentSrc), secure: await page.evaluate(() => isSecureContext) }
}

// begins plays the first second, of what may still be on its way.
export async function begins ({ open, url }) {
  const page = await open(url)
  await frame(page)
  await page.$eval('.player .big', (b) => b.click())
  await until(page, 'playing', () => document.querySelector('video').currentTime > 1)
  return { figures: await figures(page) }
}
// bounded plays a file that is larger than what may be kept.
export async function bounded ({ open, url, limit }) {
  const page = await open(url)
  await frame(page)
  await page.evaluate((limit) => { [...causeway.engine.swarms.values()][0].state.limit = limit }, limit)
  await page.$eval('.player .big', (b) => b.click())
  for (const part of [0.3, 0.9, 0.1]) {
    await seek(page, part)
    await until(page, 'playing', (part) => { const v = document.querySelector('video'); return v.currentTime > v.duration * part + 1 }, part)
  }
  const most = await until(page, 'room', (limit) => { const { state } = [...causeway.engine.swarms.values()][0]; return state.bytes <= limit && state.bytes }, limit)
  const files = await until(page, 'fewer files', async (limit) => {
    const root = await navigator.storage.getDirectory()
    let bytes = 0
    for await (const dir of (await root.getDirectoryHandle('pieces')).values()) for await (const f of dir.values()) bytes += await f.getFile().then((x) => x.size, () => 0)
    return bytes <= limit && bytes
  }, limit)
  return { most, files, came: (await figures(page)).came }
}

// forgets presses "Forget" while something is being written, and looks for what is left.
export async function forgets ({ open, url }) {
  const page = await open(url, (page) => page.evaluateOnNewDocument(() => {
    const { close } = FileSystemWritableFileStream.prototype
    globalThis.writing = 0
    let all = 0
    FileSystemWritableFileStream.prototype.close = async function () { // most take long
      writing++
      if (++all > 10) await new Promise((resolve) => setTimeout(resolve, 8000))
      await close.call(this)
      writing--
    }
  }))
  await frame(page)
  await until(page, 'something kept, and something being written', () => !document.querySelector('#forget').hidden && writing)
  await page.evaluate(() => { globalThis.before = true; document.querySelector('#forget').click() })
  await until(page, 'a fresh page', () => !globalThis.before && document.querySelector('video')?.readyState >= 2)
  return { figures: await figures(page) }
}

// reads fetches all of a file where the storage reads slowly, and says how long a read takes.
export async function reads ({ open, url, slow }) {
  const page = await open(url, (page) => page.evaluateOnNewDocument((slow) => {
    const { getFile } = FileSystemFileHandle.prototype
    FileSystemFileHandle.prototype.getFile = async function () {
      await new Promise((resolve) => setTimeout(resolve, slow))
      return getFile.call(this)
    }
  }, slow))
  await until(page, 'all of it, written', () => { const s = [...globalThis.causeway?.engine.swarms.values() ?? []][0]; return s?.torrent?.progress === 1 && s.state.store.unwritten === 0 })
  return page.evaluate(async () => {
    const reader = [...causeway.engine.swarms.values()][0].reader(0, 6_000_000) // which no player has read
    const began = performance.now()
    const { length } = await reader.read()
    reader.close()
    return { took: performance.now() - began, length }
  })
}

// lists opens a page of several torrents, and one of them from there.
export async function lists ({ open, url }) {
  const page = await open(url)
  const rows = await until(page, 'a list', () => { const rows = [...document.querySelectorAll('.files li')].map((r) => r.textContent); return rows.length > 1 && rows })
  await page.$eval('.files a.open', (a) => a.click())
  await frame(page)
  return { rows, hash: await page.evaluate(() => location.hash), back: await page.$eval('.crumb', (c) => c.textContent) }
}

// tells waits for words on the page.
export async function tells ({ open, url, words }) {
  const page = await open(url)
  return { said: await until(page, words, (words) => document.querySelector('main').textContent.includes(words) && document.querySelector('main').textContent, words) }
}
