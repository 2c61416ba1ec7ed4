// The page: takes what the host shares, shows it, and plays it over the best way there is.
import { el, button, nameOf, short, say, copy, plain } from './dom.js'
import { Host, HostError } from './host.js'
import { Player, KEYS } from './player.js'
import { Source, extension } from './source.js'
import { FileList, save, zipURL } from './files.js'
import { Picture } from './picture.js'
import { showFile } from './show.js'
import { register, publish } from './streams.js'
import { bytes, rate, left, count, whyAlone } from './words.js'
import { forgetPlaces } from './memory.js'

const DRAW_EVERY = 500 // ms
const FIRST_FRAME_WITHIN = 2500 // ms that a player has the swarm for itself

const host = new Host()
const main = document.querySelector('main')
let engine = null
let engineState = 'starting' // ready, missing, failed
let streaming = false // the service worker is there
let view = null

const way = {
  secure: isSecureContext, webrtc: typeof RTCPeerConnection === 'function', blocked: false, lan: 'unknown'
}

async function start () {
  document.getElementById('keys').append(...KEYS.map(([key, does]) => el('div', {}, el('dt', {}, key), el('dd', {}, does))))
  const engineCode = way.secure ? import('./engine.js').catch((error) => ({ error })) : null
  const serviceWorker = way.secure ? register() : Promise.resolve(false)
  try {
    await host.load()
  } catch (error) {
    return broken(error)
  }
  performance.mark('described')
  await startEngine(engineCode, serviceWorker)
  host.watch()
  host.addEventListener('back', () => { if (engine) { engine.hostThere = true; engine.renew(host.share) } view?.refresh() })
  host.addEventListener('gone', () => { if (engine) engine.hostThere = false })
  host.addEventListener('status', () => { if (view?.pending) view.refresh() })
  addEventListener('hashchange', route)
  document.getElementById('forget').addEventListener('click', forget)
  setInterval(draw, DRAW_EVERY)
  route()
  keptNote()
  probe()
}

async function startEngine (code, serviceWorker) {
  if (!code) { engineState = 'insecure'; return }
  code.then(() => performance.mark('engine loaded'))
  serviceWorker.then(() => performance.mark('service worker ready'))
  const [module, controlled] = await Promise.all([code, serviceWorker])
  streaming = controlled
  if (module.error) {
    console.warn('engine:', module.error)
    // Without the bundle there is no engine to load; with it, something went wrong.
    engineState = document.documentElement.dataset.built === 'true' ? 'failed' : 'missing'
    return
  }
  if (!controlled) { engineState = 'failed'; return }
  engine = new module.Engine(host.share)
  engine.addEventListener('trouble', (event) => console.warn('engine:', event.detail))
  host.figures = () => {
    const all = { host: 0, viewers: 0, http: 0, given: 0 }
    for (const { came, gave } of engine.swarms.values()) {
      all.host += came.causeway
      all.viewers += came.viewers
      all.http += came.host
      all.given += gave
    }
    return all
  }
  engineState = 'ready'
  globalThis.causeway = { engine, host } // for tests, and for the curious in the console
}

// probe finds out whether WebRTC has any way out of this browser.
async function probe () {
  if (!way.webrtc || !way.secure) return
  try {
    const state = await navigator.permissions.query({ name: 'local-network-access' })
    way.lan = state.state
    state.onchange = () => { way.lan = state.state }
  } catch { /* this browser has no such permission */ }
  try {
    const peer = new RTCPeerConnection({ iceServers: host.share.ice ?? [] })
    let found = 0
    peer.onicecandidate = ({ candidate }) => { if (candidate?.candidate) found++ }
    peer.createDataChannel('probe')
    await peer.setLocalDescription()
    await new Promise((resolve) => {
      peer.onicegatheringstatechange = () => peer.iceGatheringState === 'complete' && resolve()
      setTimeout(resolve, 5000)
    })
    way.blocked = found === 0
    peer.close()
  } catch { way.webrtc = false }
}

function broken (error) {
  main.replaceChildren(el('section', { class: 'card state' }, el('h1', {}, 'This cannot be reached now'),
    el('p', {}, error instanceof HostError ? error.message : 'The computer that shares this does not answer. It may be asleep or offline, or the share has ended.'),
    button('check', 'Try again', () => location.reload(), { text: true })))
  main.setAttribute('aria-busy', 'false')
  setTimeout(async () => { try { await new Host().load(); location.reload() } catch { broken(error) } }, 3000)
}

// route shows what the address names: #<infohash> or #<infohash>/<file index>, or, with one
// torrent, #<file index>.
function route () {
  const torrents = host.share.torrents
  const m = /^#([0-9a-f]{40}|[0-9a-f]{64})?\/?(\d{1,7})?$/.exec(location.hash)
  const wanted = m?.[1] ? torrents.find((t) => t.infohash === m[1]) : torrents.length === 1 ? torrents[0] : null
  main.setAttribute('aria-busy', 'false')
  if (wanted && !wanted.pending) {
    if (view?.torrent?.infohash !== wanted.infohash) { view?.close(); view = new TorrentView(wanted) }
    view.show(m?.[2] !== undefined ? Number(m[2]) : undefined)
  } else {
    view?.close()
    view = listView(torrents, wanted)
  }
}

function listView (torrents, wanted) {
  document.title = plain(host.share.title) || 'Causeway'
  const rows = torrents.map((t) => el('li', { class: 'file' }, t.pending
    ? el('div', { class: 'open' }, nameOf(t.name || t.infohash, { class: 'name' }), el('span', { class: 'size' }, 'finding out what is in it…'))
    : el('a', { class: 'open', href: `#${t.infohash}` }, nameOf(t.name, { class: 'name' }), el('span', { class: 'size' }, `${count(t.files.length, 'file')}, ${bytes(t.length)}`))))
  const receive = el('div', {})
  if (host.share.receive) import('./receive.js').then((m) => receive.replaceChildren(m.dropZone(host, () => engine)))
  main.replaceChildren(receive, ...(torrents.length
    ? [el('section', { class: 'card' }, el('h1', {}, torrents.length === 1 ? 'Shared with you' : `${torrents.length} things shared with you`), el('div', { class: 'files' }, el('ul', {}, rows)))]
    : host.share.receive ? [] : [el('section', { class: 'card state' }, el('h1', {}, 'Nothing is shared here now'), el('p', {}, 'Ask whoever sent you the link.'))]))
  return { pending: torrents.some((t) => t.pending), close () {}, draw () {}, async refresh () {
    const before = JSON.stringify(host.share.torrents)
    await host.load()
    if (JSON.stringify(host.share.torrents) !== before) route()
  }, wanted }
}

class TorrentView {
  constructor (torrent) {
    this.torrent = torrent
    this.playable = torrent.files.filter((f) => f.kind === 'video' || f.kind === 'audio')
    this.player = new Player({
      ended: () => this.step(1, true), next: () => this.step(1, true), previous: () => this.step(-1, true),
      broken: (error) => this.remux(error), ready: (video) => this.checkSound(video)
    })
    this.picture = new Picture()
    this.#build()
    this.swarm = null
    this.joining = this.#join()
  }

  async #join () {
    if (!engine) return
    try { this.swarm = await engine.open(this.torrent); performance.mark('swarm open') } catch (error) { console.warn(error); engineState = 'failed' }
  }

  #build () {
    const { torrent } = this
    this.stage = el('div', { class: 'stage' })
    this.heading = el('h1', { tabindex: '-1' })
    this.facts = el('p', { class: 'facts' })
    this.progress = el('div', { class: 'progress', role: 'progressbar', 'aria-label': 'In this browser', 'aria-valuemin': 0, 'aria-valuemax': 100 }, el('span', {}))
    this.notice = el('p', { class: 'notice', role: 'status', hidden: true })
    const several = torrent.files.length > 1
    const here = () => location.href
    this.actions = el('div', { class: 'actions' },
      button('download', 'Download', () => this.save(this.file), { text: true, class: 'button primary', id: 'download' }),
      button('link', 'Copy link', () => copy(here(), 'link'), { text: true }),
      el('details', { class: 'more-actions' }, el('summary', { class: 'button' }, 'More'),
        el('div', { class: 'menu-box' },
          several ? button('download', `Download all (zip, ${bytes(torrent.length)})`, () => this.saveAll(), { text: true, id: 'download-all' }) : null,
          torrent.magnet ? button('magnet', 'Copy magnet link', () => copy(torrent.magnet, 'magnet link'), { text: true }) : null,
          el('a', { class: 'button', href: torrent.torrent, download: `${short(torrent.name, 100)}.torrent` }, '.torrent file'),
          this.vlc = button('link', 'Copy link for VLC', () => copy(new URL(this.file.url, document.baseURI).href, 'link for VLC'), { text: true }),
          button('help', 'Keys', () => document.getElementById('help').showModal(), { text: true }))))
    this.list = several ? new FileList(torrent, { open: (f) => { this.wantsPlay = true; this.go(f.index) }, save: (f) => this.save(f) }) : null
    const swarmCard = el('section', { class: 'card swarms', 'aria-labelledby': 'how' }, el('h2', { id: 'how' }, 'How it reaches you'), this.picture.root)
    const aside = this.list ? el('aside', { class: 'card', 'aria-labelledby': 'files-head' }, el('h2', { id: 'files-head' }, count(torrent.files.length, 'file')), this.list.root) : null
    const receive = el('div', { class: this.list ? '' : 'column' })
    if (host.share.receive) import('./receive.js').then((m) => receive.replaceChildren(m.dropZone(host, () => engine)))
    main.replaceChildren(el('div', { class: this.list ? 'columns' : 'column' },
      el('div', { class: 'main-column' },
        host.share.torrents.length > 1 ? el('p', { class: 'crumb' }, el('a', { href: '#' }, '‹ Everything shared')) : null,
        this.stage, el('section', { class: 'card about' }, this.heading, this.facts, this.progress, this.actions, this.notice)),
      aside ? el('div', { class: 'side-column' }, aside) : null, swarmCard), receive)
    this.stage.append(this.player.root)
    this.box = el('div', { class: 'shown card', hidden: true })
    this.stage.append(this.box)
    this.player.root.hidden = true
  }

  go (index) { location.hash = host.share.torrents.length > 1 ? `#${this.torrent.infohash}/${index}` : `#${index}` }

  // show opens a file of the torrent: the one asked for, else the best one.
  async show (index) {
    const { files } = this.torrent
    const file = files.find((f) => f.index === index) ?? this.best()
    if (!file || file === this.file) return
    this.file = file
    const name = file.path.slice(file.path.lastIndexOf('/') + 1)
    document.title = `${short(name, 80)} · Causeway`
    this.heading.replaceChildren(nameOf(name))
    this.list?.mark(file.index)
    this.vlc.hidden = !this.playable.includes(file)
    this.box.hidden = true
    this.problem = null
    const autoplay = !!this.wantsPlay
    this.wantsPlay = false
    await this.joining
    if (this.file !== file || this.closed) return
    this.source?.close()
    this.closeRemux()
    const swarm = this.swarm
    const source = this.source = new Source(this.torrent, file, swarm)
    if (file.kind === 'video' || file.kind === 'audio') {
      const info = {
        id: `${this.torrent.infohash}/${file.index}`, kind: file.kind, name,
        subtitles: (file.subtitles ?? []).map((s) => ({ label: s.label || s.lang || 'Subtitles', lang: s.lang, name: this.fileAt(s.index)?.path ?? '.vtt', load: () => this.sourceOf(s.index).bytes() }))
      }
      this.player.load(source, info, { autoplay })
      this.player.video.addEventListener('loadeddata', () => performance.mark('first frame'), { once: true })
      // The rest of it comes once there is a picture.
      if (swarm) this.soon(this.player.video, () => { if (this.source === source) swarm.unwantOthers(file.index) })
      this.first(source)
    } else {
      this.player.stop()
      this.box.hidden = false
      swarm?.want(file.index)
      showFile(source, this.box)
    }
    draw()
  }

  soon (video, run) {
    let done = false
    const once = () => { if (!done) { done = true; run() } }
    video.addEventListener('loadeddata', once, { once: true })
    setTimeout(once, FIRST_FRAME_WITHIN)
  }

  // first looks at files that browsers often play in part only, before they play.
  async first (source) {
    if (['mkv', 'mka', 'mov', 'avi', 'ts', 'm2ts', 'mts', 'flv', 'wmv', 'asf', 'mpg', 'mpeg', 'vob', 'ac3', 'eac3', 'dts', 'wma'].includes(extension(source.name))) this.remux(null)
  }

  // checkSound finds files that play without their sound: a codec that the browser lacks.
  checkSound (video) {
    if (this.remuxing || this.file.kind !== 'video') return
    const silent = () => video.mozHasAudio === false || (video.webkitAudioDecodedByteCount === 0 && video.webkitVideoDecodedByteCount > 0)
    const check = () => {
      if (video.currentTime < 0.8) return
      video.removeEventListener('timeupdate', check)
      if (silent() && this.source && !this.remuxing) this.remux(null)
    }
    video.addEventListener('timeupdate', check)
  }

  closeRemux () { this.remuxer?.close(); this.remuxer = null; this.remuxing = false }

  // remux looks into a file that the browser cannot play as it is, and plays it through
  // mediabunny, or says what is in it.
  async remux (error) {
    const { source, player } = this
    if (this.remuxing) return this.cannot('It could not be played here.')
    this.remuxing = true
    if (error) player.say('This needs another look…')
    let module
    try { module = await import('./remux.js') } catch {
      if (error) this.cannot('This browser cannot play it as it is.')
      return
    }
    try {
      const found = await module.examine(source)
      if (this.source !== source) return found.close()
      if (found.native && !error) { found.close(); this.remuxing = false; return }
      if (!found.possible) {
        found.close()
        // Without an error the browser plays what it can; say what is missing.
        if (error || found.nothing) return this.cannot(found.words)
        player.say('')
        this.problem = { level: 'note', text: found.words }
        return
      }
      player.say('')
      const at = player.video.currentTime
      if (at > 0.5) player.startAt = at
      this.remuxer = await module.play(found, player, (failure) => { if (this.source === source) this.cannot(`${found.words} ${failure.message}`) })
      this.problem = { level: 'note', text: `${found.words} It is converted in your browser while it plays.` }
    } catch (failure) {
      if (this.source === source && error) this.cannot(`This browser cannot play it (${failure.message}).`)
    }
  }

  cannot (words) {
    const { player } = this
    player.root.classList.remove('waiting')
    player.root.classList.add('broken')
    const link = new URL(this.file.url, document.baseURI).href
    player.say(el('strong', {}, 'This browser cannot play this file.'), el('span', {}, words), el('span', { class: 'actions' },
      button('download', 'Download it', () => this.save(this.file), { text: true }),
      button('link', 'Copy link for VLC', () => copy(link, 'link for VLC'), { text: true })))
  }

  fileAt (index) { return this.torrent.files.find((f) => f.index === index) }
  sourceOf (index) { return new Source(this.torrent, this.fileAt(index), this.swarm) }

  best () {
    const { files } = this.torrent
    const largest = (list) => list.reduce((a, b) => (b.length > (a?.length ?? -1) ? b : a), null)
    // An album is heard from its first piece; a film is the largest.
    const videos = files.filter((f) => f.kind === 'video')
    return largest(videos) ?? files.find((f) => f.kind === 'audio') ?? files.find((f) => f.kind === 'image') ?? files.find((f) => f.kind === 'text') ?? files[0]
  }

  step (by, playing) {
    const at = this.playable.indexOf(this.file)
    const next = this.playable[at + by]
    if (at < 0 || !next) return
    this.wantsPlay = playing
    this.go(next.index)
  }

  save (file) {
    const source = file === this.file && this.source ? this.source : this.sourceOf(file.index)
    this.swarm?.want(file.index)
    save(source.saveURL)
  }

  async saveAll () {
    if (!streaming || !this.swarm) {
      say('One after the other: this page cannot make a zip here')
      for (const file of this.torrent.files) { save(this.sourceOf(file.index).saveURL); await new Promise((resolve) => setTimeout(resolve, 800)) }
      return
    }
    for (const file of this.torrent.files) this.swarm.want(file.index)
    save(await zipURL(this.torrent, this.torrent.files.map((f) => this.sourceOf(f.index)), publish))
  }

  draw () {
    const said = host.of(this.torrent.infohash)
    const f = this.swarm?.torrent?.ready ? this.swarm.figures() : null
    this.picture.show(f, said, host.there)
    const size = this.torrent.files.length > 1 && this.file ? `${bytes(this.file.length)} of ${bytes(this.torrent.length)}` : bytes(this.torrent.length)
    const facts = [size]
    if (f) {
      const file = this.file && this.swarm.torrent.files[this.file.index]
      const progress = file ? file.progress : f.progress
      const percent = Math.floor(progress * 100)
      this.progress.hidden = false
      this.progress.setAttribute('aria-valuenow', percent)
      this.progress.firstChild.style.setProperty('width', `${progress * 100}%`)
      if (percent >= 100) facts.push('all of it is in this browser')
      else {
        facts.push(`${percent} % in this browser`)
        if (f.down > 500) facts.push(rate(f.down), left((file ? file.length * (1 - progress) : f.length - f.have) / f.down))
      }
      facts.push(f.peers ? `${count(f.peers, 'direct connection')}` : '')
      if (this.file && !this.player.root.hidden) this.player.showParts(this.swarm.availability(this.file.index))
    } else {
      this.progress.hidden = true
      if (said && said.completed < this.torrent.length) facts.push(`${Math.floor(said.completed / this.torrent.length * 100)} % has reached Causeway`)
    }
    this.facts.textContent = facts.filter(Boolean).join(' · ')
    const why = whyAlone({
      engine: engineState, host: host.there, secure: way.secure, webrtc: way.webrtc, blocked: way.blocked, lan: way.lan,
      tracker: f?.tracker, peers: f?.peers || f?.met || 0, age: f?.age ?? 0
    }) ?? this.problem
    this.notice.hidden = !why
    if (why && this.notice.textContent !== why.text) this.notice.textContent = why.text
    if (why) this.notice.classList.toggle('bad', why.level === 'bad')
  }

  refresh () {
    const now = host.share.torrents.find((t) => t.infohash === this.torrent.infohash)
    if (!now) return route()
    // Addresses may have changed (a new port behind the same name keeps them relative).
    for (const [i, file] of now.files.entries()) Object.assign(this.torrent.files[i] ?? {}, file)
    if (this.player.video.error && this.source) { this.player.revived = 0; this.player.startAt = this.player.video.currentTime; this.player.open(this.source.url) }
  }

  close () {
    this.closed = true
    this.closeRemux()
    this.player.stop()
    this.source?.close()
  }
}

function draw () { view?.draw() }

async function keptNote () {
  const { kept } = await import('./store.js')
  const update = () => {
    const n = way.secure ? kept() : 0
    document.getElementById('kept').textContent = n ? `${bytes(n)} kept in this browser` : ''
    document.getElementById('forget').hidden = !n
  }
  update()
  setInterval(update, 3000)
}

async function forget () {
  const { forgetAll } = await import('./store.js')
  try {
    await forgetAll()
  } catch (error) {
    return say(`It could not be forgotten (${error.message})`)
  }
  forgetPlaces()
  say('Forgotten. The page starts anew.')
  setTimeout(() => location.reload(), 600)
}

start()
