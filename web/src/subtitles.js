// Subtitles: SubRip and WebVTT become cues of the browser's text tracks, shown above our own
// controls (by the browser where the picture leaves the page); ASS and SSA are drawn by
// jassub, which is loaded only then.
import { el } from './dom.js'
import { extension } from './source.js'

// MAX_SUBTITLE bounds a subtitle file, in bytes; MAX_CUES what is made of it.
const MAX_SUBTITLE = 16e6
const MAX_CUES = 50_000

export const isSubtitle = (name) => ['srt', 'vtt', 'ass', 'ssa'].includes(extension(name))

// decode reads text of unknown encoding: UTF-8 or UTF-16 by its mark, else UTF-8 if it is
// valid, else the commonest of old files.
export function decode (bytes) {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes)
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder('utf-16be').decode(bytes)
  try { return new TextDecoder('utf-8', { fatal: true }).decode(bytes) } catch { return new TextDecoder('windows-1252').decode(bytes) }
}

const time = /(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})/
const timing = new RegExp(`${time.source}\\s*-->\\s*${time.source}(.*)`)

const seconds = (h, m, s, ms) => Number(h ?? 0) * 3600 + Number(m) * 60 + Number(s) + Number(ms.padEnd(3, '0')) / 1000

// parseCues reads SubRip or WebVTT: [{ start, end, text, settings }], in seconds.
export function parseCues (text) {
  const cues = []
  for (const block of text.replace(/\r\n?/g, '\n').split(/\n{2,}/)) {
    const lines = block.split('\n')
    const at = lines.findIndex((line) => timing.test(line))
    if (at < 0 || at > 1) continue
    const m = timing.exec(lines[at])
    const start = seconds(m[1], m[2], m[3], m[4])
    const end = seconds(m[5], m[6], m[7], m[8])
    const words = lines.slice(at + 1).join('\n').replace(/\{\\[^}]*\}/g, '').replace(/<\/?font[^>]*>/gi, '').trim()
    if (words && end > start) cues.push({ start, end, text: words, settings: m[9].trim() })
    if (cues.length >= MAX_CUES) break
  }
  return cues
}

export class Subtitles {
  constructor (video) {
    this.video = video
    this.box = el('div', { class: 'cues' })
    const leaves = (away) => () => { this.away = away; this.#mode() }
    for (const name of ['enterpictureinpicture', 'webkitbeginfullscreen']) video.addEventListener(name, leaves(true))
    for (const name of ['leavepictureinpicture', 'webkitendfullscreen']) video.addEventListener(name, leaves(false))
    this.choices = [] // { label, lang, name, load() -> Uint8Array }
    this.current = -1
    this.tracks = new Map()
  }

  add (choice) { this.choices.push(choice); return this.choices.length - 1 }

  // choose shows one of the choices, or none with -1.
  async choose (index) {
    this.current = index
    this.#mode()
    this.drawn?.destroy()
    this.drawn = null
    const choice = this.choices[index]
    if (!choice) return
    if (['ass', 'ssa'].includes(extension(choice.name))) return this.#draw(choice, index)
    let track = this.tracks.get(index)
    if (!track) {
      const cues = parseCues(decode(await this.#load(choice)))
      if (!cues.length) throw new Error('there are no subtitles in this file')
      track = this.video.addTextTrack('subtitles', choice.label, choice.lang ?? '')
      for (const { start, end, text } of cues) track.addCue(new VTTCue(start, end, text))
      track.addEventListener('cuechange', () => this.#show(track))
      this.tracks.set(index, track)
    }
    this.#mode()
  }

  #mode () {
    for (const [index, track] of this.tracks) track.mode = index !== this.current ? 'disabled' : this.away ? 'showing' : 'hidden'
    this.#show(this.tracks.get(this.current))
  }

  #show (track) {
    if (track && track !== this.tracks.get(this.current)) return
    const cues = track?.mode === 'hidden' ? [...track.activeCues ?? []] : []
    // What a cue becomes has no elements but WebVTT's own (i, b, u, ruby, span).
    this.box.replaceChildren(...cues.map((cue) => el('p', { dir: 'auto' }, cue.getCueAsHTML())))
  }

  async #load (choice) {
    const bytes = await choice.load()
    if (bytes.length > MAX_SUBTITLE) throw new Error('this subtitle file is too large')
    return bytes
  }

  async #draw (choice, index) {
    const subContent = decode(await this.#load(choice))
    const { default: JASSUB } = await import('jassub')
    if (this.current !== index) return
    const here = (name) => new URL(name, import.meta.url).href
    this.drawn = new JASSUB({
      video: this.video, subContent, workerUrl: here('./subtitle-worker.js'),
      wasmUrl: here('./subtitle.wasm'), modernWasmUrl: here('./subtitle.wasm'),
      availableFonts: { 'liberation sans': here('./subtitle.woff2') }, defaultFont: 'liberation sans', queryFonts: false
    })
    await this.drawn.ready
  }

  // clear forgets all of it, for another file.
  clear () {
    this.drawn?.destroy()
    this.drawn = null
    this.choices = []
    this.current = -1
    this.#mode()
    this.tracks = new Map()
  }
}
