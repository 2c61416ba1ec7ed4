// The player: a media element with controls of our own, which work by keyboard, touch and
// screen reader alike and need no inline styles.
import { el, button, icon, setIcon, say, nameOf, short } from './dom.js'
import { clock, spoken } from './words.js'
import { Subtitles, isSubtitle } from './subtitles.js'
import { place, setPlace, setting, setSetting } from './memory.js'

const HIDE_AFTER = 2600 // ms without a pointer's move, while it plays
const REMEMBER_EVERY = 4000 // ms
const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]
const REVIVALS = 4 // times that a broken stream is opened again where it broke

export class Player {
  // on has { ended(), previous(), next(), broken(error) -> boolean, needs(video) }.
  constructor (on) {
    this.on = on
    this.video = el('video', { playsinline: true, preload: 'auto', tabindex: '-1', class: 'screen' })
    this.subtitles = new Subtitles(this.video)
    this.#build()
    this.#listen()
    this.video.volume = setting('volume', 1)
    this.video.muted = setting('muted', false)
  }

  #build () {
    this.seek = el('input', { type: 'range', class: 'seek', min: 0, max: 1000, value: 0, step: 'any', 'aria-label': 'Position' })
    this.parts = el('canvas', { class: 'parts', width: 1000, height: 4, 'aria-hidden': 'true' })
    this.playTool = button('play', 'Play', () => this.toggle())
    this.muteTool = button('sound', 'Mute', () => this.mute())
    this.volume = el('input', { type: 'range', class: 'volume', min: 0, max: 1, step: 0.05, 'aria-label': 'Volume' })
    this.time = el('span', { class: 'time' }, '0:00')
    this.captionTool = button('captions', 'Subtitles', () => this.#menu('captions'), { 'aria-haspopup': 'menu', 'aria-expanded': 'false' })
    this.speedTool = button('speed', 'Speed', () => this.#menu('speed'), { 'aria-haspopup': 'menu', 'aria-expanded': 'false' })
    this.pipTool = button('pip', 'Picture in picture', () => this.pip())
    this.fullTool = button('full', 'Full screen', () => this.full())
    this.big = button('play', 'Play', () => this.toggle(), { class: 'big' })
    this.note = el('p', { class: 'on-screen', role: 'status' })
    this.resume = el('div', { class: 'resume', hidden: true })
    this.menu = el('div', { class: 'menu', role: 'menu', hidden: true })
    this.spinner = el('div', { class: 'spinner', 'aria-hidden': 'true' })
    this.title = el('div', { class: 'sound-title' })
    this.bar = el('div', { class: 'bar' },
      el('div', { class: 'seek-row' }, this.parts, this.seek),
      el('div', { class: 'tools' }, this.playTool, this.muteTool, this.volume, this.time, el('span', { class: 'gap' }),
        this.captionTool, this.speedTool, this.pipTool, this.fullTool), this.menu)
    this.root = el('div', { class: 'player', role: 'region', 'aria-label': 'Player', tabindex: '0' },
      this.video, this.title, this.subtitles.box, this.spinner, this.big, this.note, this.resume, this.bar)
    this.pipTool.hidden = !document.pictureInPictureEnabled
  }

  #listen () {
    const { video, root } = this
    const on = (name, run) => video.addEventListener(name, run)
    on('play', () => { this.root.classList.add('begun'); this.#state() })
    on('pause', () => { this.#state(); this.#remember() })
    on('volumechange', () => this.#state())
    on('timeupdate', () => this.#tick())
    on('durationchange', () => this.#tick())
    on('ratechange', () => this.#state())
    for (const name of ['waiting', 'seeking', 'loadstart']) on(name, () => root.classList.add('waiting'))
    for (const name of ['playing', 'seeked', 'canplay', 'loadeddata', 'error', 'emptied']) on(name, () => root.classList.remove('waiting'))
    on('loadedmetadata', () => this.#ready())
    on('ended', () => { setPlace(this.id, 0, 1); this.on.ended() })
    on('error', () => this.#failed())
    on('click', () => { if (this.touched) this.touched = false; else this.toggle() })
    on('dblclick', () => this.full())
    this.seek.addEventListener('input', () => { this.dragging = true; this.#showTime(this.#aim()) })
    this.seek.addEventListener('change', () => { this.dragging = false; this.to(this.#aim()) })
    this.volume.addEventListener('input', () => { video.volume = Number(this.volume.value); video.muted = false; setSetting('volume', video.volume) })
    for (const name of ['pointermove', 'pointerdown', 'focusin', 'keydown']) root.addEventListener(name, () => this.#wake())
    root.addEventListener('pointerleave', () => root.classList.add('idle'))
    video.addEventListener('pointerup', (event) => {
      if (event.pointerType !== 'touch') return
      this.touched = true // the first touch shows the controls
      if (root.classList.contains('idle') || video.paused) { this.touched = !video.paused; this.#wake() } else root.classList.add('idle')
    })
    document.addEventListener('fullscreenchange', () => setIcon(this.fullTool, 'full', document.fullscreenElement ? 'Leave full screen' : 'Full screen'))
    document.addEventListener('keydown', (event) => this.#key(event))
    root.addEventListener('focusout', (event) => { if (!this.bar.contains(event.relatedTarget)) this.#menu(null) })
    addEventListener('pagehide', () => this.#remember())
    this.timer = setInterval(() => { if (!video.paused) this.#remember() }, REMEMBER_EVERY)
    this.#dropping()
  }

  // load plays a source from where it was left. info has { id, kind, name, subtitles }.
  load (source, info, { autoplay = false, at } = {}) {
    this.#remember()
    Object.assign(this, { source, id: info.id, info, revived: 0, moved: false })
    this.root.classList.toggle('sound', info.kind === 'audio')
    this.root.hidden = false
    this.root.classList.remove('begun', 'broken')
    this.title.replaceChildren(icon('audio'), nameOf(info.name))
    this.say('')
    this.subtitles.clear()
    for (const choice of info.subtitles) this.subtitles.add(choice)
    this.captionTool.hidden = info.kind === 'audio' && !info.subtitles.length
    this.wants = autoplay
    const before = at ?? place(this.id)?.at
    this.startAt = before ?? 0
    this.#offerRestart(before)
    this.video.setAttribute('aria-label', short(info.name, 100))
    this.open(source.url)
    if (info.subtitles.length && setting('captions', true)) this.caption(likeliest(info.subtitles), false)
    navigator.mediaSession && (navigator.mediaSession.metadata = new MediaMetadata({ title: short(info.name, 120) }))
  }

  open (url) {
    this.video.src = url
    if (this.wants) this.video.play().catch(() => {})
  }

  // take has something else feed the media element: a remuxed stream.
  take (url) { this.revived = REVIVALS; this.open(url) }

  stop () {
    this.#remember()
    this.subtitles.clear()
    this.id = null
    this.video.removeAttribute('src')
    this.video.load()
    this.root.hidden = true
  }

  #ready () {
    if (this.startAt > 0 && this.startAt < (this.video.duration || Infinity)) this.video.currentTime = this.startAt
    this.startAt = 0
    this.video.playbackRate = setting('speed', 1)
    this.root.classList.toggle('sound', !this.video.videoWidth)
    this.#state()
    this.#tick()
    this.on.ready?.(this.video)
  }

  #failed () {
    const { error } = this.video
    if (!error || !this.video.getAttribute('src')) return
    // A stream that broke off is opened again where it was; what cannot be decoded is not.
    if (error.code === MediaError.MEDIA_ERR_NETWORK && this.revived < REVIVALS) {
      this.revived++
      this.startAt = this.video.currentTime
      setTimeout(() => this.open(this.source.url), 700 * this.revived)
      return
    }
    this.on.broken(error)
  }

  say (text, ...more) { this.note.replaceChildren(text, ...more); this.note.hidden = !text }

  // wants is what the viewer asked for: a source that is replaced goes on playing.
  toggle () { if (this.video.paused) this.play(); else { this.wants = false; this.video.pause() } }
  play () { this.wants = true; this.video.play().catch((error) => { if (error.name === 'NotAllowedError') say('The browser wants a click before it plays') }) }
  to (seconds) { if (Number.isFinite(this.video.duration)) this.video.currentTime = Math.min(Math.max(seconds, 0), this.video.duration) }
  mute () { this.video.muted = !this.video.muted; setSetting('muted', this.video.muted) }
  full () {
    if (document.fullscreenElement) document.exitFullscreen()
    else if (this.root.requestFullscreen) this.root.requestFullscreen().catch(() => {})
    else this.video.webkitEnterFullscreen?.()
  }

  pip () { document.pictureInPictureElement ? document.exitPictureInPicture() : this.video.requestPictureInPicture?.().catch(() => say('There is no picture yet')) }

  async caption (index, chosen = true) {
    if (chosen) setSetting('captions', index >= 0)
    try {
      await this.subtitles.choose(index)
    } catch (error) {
      say(`Subtitles: ${error.message}`)
    }
    this.captionTool.classList.toggle('on', this.subtitles.current >= 0)
  }

  speed (value) {
    this.video.playbackRate = value
    setSetting('speed', value)
    say(`Speed ${value}×`)
  }

  #aim () { return Number(this.seek.value) / 1000 * (this.video.duration || 0) }

  #state () {
    const { video } = this
    const playing = !video.paused && !video.ended
    setIcon(this.playTool, playing ? 'pause' : 'play', playing ? 'Pause' : 'Play')
    const quiet = video.muted || video.volume === 0
    setIcon(this.muteTool, quiet ? 'mute' : 'sound', quiet ? 'Unmute' : 'Mute')
    this.volume.value = quiet ? 0 : video.volume
    this.volume.style.setProperty('--at', `${(quiet ? 0 : video.volume) * 100}%`)
    this.root.classList.toggle('playing', playing)
    this.#wake()
  }

  #tick () {
    const { video } = this
    if (video.currentTime > 1) this.moved = true
    if (this.dragging) return
    const part = video.duration ? video.currentTime / video.duration : 0
    this.seek.value = part * 1000
    this.#showTime(video.currentTime)
  }

  #showTime (at) {
    const { duration } = this.video
    this.seek.style.setProperty('--at', `${duration ? at / duration * 100 : 0}%`)
    this.seek.setAttribute('aria-valuetext', `${spoken(at)} of ${spoken(duration)}`)
    this.time.textContent = Number.isFinite(duration) ? `${clock(at)} / ${clock(duration)}` : clock(at)
  }

  // showParts draws which parts of the file are in this browser: pairs of fractions.
  showParts (parts) {
    const c = this.parts.getContext('2d')
    const { width, height } = this.parts
    c.clearRect(0, 0, width, height)
    c.fillStyle = 'rgba(255,255,255,.55)'
    for (const [from, to] of parts) c.fillRect(from * width, 0, Math.max((to - from) * width, 1), height)
  }

  #remember () {
    const { video } = this
    if (this.id && this.moved && Number.isFinite(video.duration) && !video.ended) setPlace(this.id, video.currentTime, video.duration)
  }

  #offerRestart (at) {
    this.resume.hidden = !at
    if (!at) return
    this.resume.replaceChildren(el('span', {}, `You were at ${clock(at)}`),
      el('button', { type: 'button', onclick: () => { this.startAt = 0; this.to(0); this.resume.hidden = true } }, 'Start over'))
    clearTimeout(this.resumeTimer)
    this.resumeTimer = setTimeout(() => { this.resume.hidden = true }, 9000)
  }

  #wake () {
    this.root.classList.remove('idle')
    clearTimeout(this.idleTimer)
    this.idleTimer = setTimeout(() => {
      if (!this.video.paused && this.menu.hidden && !this.bar.matches(':focus-within')) this.root.classList.add('idle')
    }, HIDE_AFTER)
  }

  #menu (which) {
    const open = which && (this.menu.hidden || this.menuOf !== which)
    for (const tool of [this.captionTool, this.speedTool]) tool.setAttribute('aria-expanded', 'false')
    this.menu.hidden = !open
    if (!open) return
    this.menuOf = which
    const items = which === 'speed'
      ? SPEEDS.map((s) => [s === 1 ? 'Normal' : `${s}×`, this.video.playbackRate === s, () => this.speed(s)])
      : [['Off', this.subtitles.current < 0, () => this.caption(-1)],
          ...this.subtitles.choices.map((c, i) => [nameOf(c.label), this.subtitles.current === i, () => this.caption(i)]),
          ['Open a file…', false, () => this.#pick()]]
    const tool = which === 'speed' ? this.speedTool : this.captionTool
    tool.setAttribute('aria-expanded', 'true')
    this.menu.replaceChildren(...items.map(([label, on, run]) => el('button', {
      type: 'button', role: 'menuitemradio', 'aria-checked': String(!!on),
      onclick: () => { this.#menu(null); tool.focus(); run() }
    }, label)))
    this.menu.setAttribute('aria-label', which === 'speed' ? 'Speed' : 'Subtitles')
    ;(this.menu.querySelector('[aria-checked=true]') ?? this.menu.firstChild).focus()
  }

  #pick () {
    const input = el('input', { type: 'file', accept: '.srt,.vtt,.ass,.ssa' })
    input.addEventListener('change', () => this.#dropped(input.files))
    input.click()
  }

  #dropping () {
    this.root.addEventListener('dragover', (event) => {
      event.preventDefault()
      event.stopPropagation()
      this.root.classList.add('dropping')
    })
    this.root.addEventListener('dragleave', () => this.root.classList.remove('dropping'))
    this.root.addEventListener('drop', (event) => {
      event.preventDefault()
      event.stopPropagation()
      this.root.classList.remove('dropping')
      this.#dropped(event.dataTransfer.files)
    })
  }

  #dropped (files) {
    const file = [...files].find((f) => isSubtitle(f.name))
    if (!file) { say('That is no subtitle file (srt, vtt, ass)'); return }
    const index = this.subtitles.add({ label: file.name, name: file.name, load: async () => new Uint8Array(await file.arrayBuffer()) })
    this.captionTool.hidden = false
    this.caption(index)
    say('Subtitles added')
  }

  #key (event) {
    if (this.root.hidden || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
    const { target } = event
    if (target.closest?.('input:not([type=range]), textarea, select, dialog, [role=menu]')) {
      if (event.key === 'Escape' && !this.menu.hidden) this.#menu(null)
      return
    }
    const onButton = target.closest?.('button, a, summary')
    const { video } = this
    const keys = {
      ' ': () => onButton ? false : this.toggle(),
      k: () => this.toggle(),
      ArrowLeft: () => target.classList?.contains('volume') ? false : this.to(video.currentTime - 5),
      ArrowRight: () => target.classList?.contains('volume') ? false : this.to(video.currentTime + 5),
      j: () => this.to(video.currentTime - 10),
      l: () => this.to(video.currentTime + 10),
      ArrowUp: () => this.root.contains(target) ? this.louder(0.05) : false,
      ArrowDown: () => this.root.contains(target) ? this.louder(-0.05) : false,
      m: () => this.mute(),
      f: () => this.full(),
      c: () => this.caption(this.subtitles.current >= 0 ? -1 : 0),
      i: () => this.pip(),
      n: () => this.on.next(),
      p: () => this.on.previous(),
      '<': () => this.speed(SPEEDS[Math.max(SPEEDS.indexOf(video.playbackRate) - 1, 0)]),
      '>': () => this.speed(SPEEDS[Math.min(SPEEDS.indexOf(video.playbackRate) + 1, SPEEDS.length - 1)]),
      Home: () => this.to(0),
      End: () => this.to(video.duration - 1)
    }
    for (let d = 0; d <= 9; d++) keys[d] = () => this.to(video.duration * d / 10)
    const run = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key]
    if (run && run() !== false) { event.preventDefault(); this.#wake() }
  }

  louder (by) {
    this.video.volume = Math.min(Math.max(this.video.volume + by, 0), 1)
    this.video.muted = false
    setSetting('volume', this.video.volume)
  }
}

// likeliest finds the subtitles in the viewer's own language, else the first.
function likeliest (subtitles) {
  for (const language of navigator.languages ?? []) {
    const code = language.slice(0, 2).toLowerCase()
    const name = new Intl.DisplayNames(['en'], { type: 'language' }).of(code).toLowerCase()
    const at = subtitles.findIndex((s) => s.lang?.toLowerCase().startsWith(code) || [code, name].includes(s.label.toLowerCase()))
    if (at >= 0) return at
  }
  return 0
}

export const KEYS = [
  ['Space or K', 'play, pause'], ['← →', '5 seconds back, on'], ['J L', '10 seconds back, on'], ['0 … 9', 'to a tenth of it'],
  ['↑ ↓', 'louder, quieter'], ['M', 'mute'], ['C', 'subtitles'], ['F', 'full screen'], ['I', 'picture in picture'],
  ['N P', 'next, previous file'], ['< >', 'slower, faster']
]
