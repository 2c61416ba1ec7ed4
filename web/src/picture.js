// A small live picture of both swarms: the classic one, Causeway between them, this page,
// and the other browsers; what flows, and how much of it.
import { el, svg } from './dom.js'
import { bytes, rate, count } from './words.js'

const WIDTH = 440
const HEIGHT = 232
const FLOWING = 500 // bytes/s below which nothing is drawn as flowing

const places = { classic: [62, 160], causeway: [212, 160], you: [376, 160], viewers: [294, 40] }

export class Picture {
  constructor () {
    this.lines = {}
    this.nodes = {}
    const line = (name, from, to, bend = 0) => {
      const [x1, y1] = places[from]
      const [x2, y2] = places[to]
      const d = `M${x1} ${y1}Q${(x1 + x2) / 2} ${(y1 + y2) / 2 + bend} ${x2} ${y2}`
      const path = svg('path', { d, class: 'wire' })
      const flow = svg('path', { d, class: 'flow' })
      // Beside a slanted line, so that it does not cover what stands below the upper place.
      const beside = y1 === y2 ? 0 : 34
      const text = svg('text', { x: (x1 + x2) / 2 + beside, y: (y1 + y2) / 2 + bend / 2 - (beside ? 0 : 9), class: 'amount' })
      this.lines[name] = { path, flow, text }
      return svg('g', {}, path, flow, text)
    }
    const node = (name, glyph, label) => {
      const [x, y] = places[name]
      const text = svg('text', { x, y: y + 46, class: 'label' }, label)
      const more = svg('text', { x, y: y + 62, class: 'more' })
      const dot = svg('g', { class: `node ${name}` }, svg('circle', { cx: x, cy: y, r: 24 }), glyph(x, y), text, more)
      this.nodes[name] = { dot, text, more }
      return dot
    }
    const glyphOf = (d) => (x, y) => svg('path', { d, transform: `translate(${x - 12} ${y - 12})`, class: 'glyph' })
    this.drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'picture', role: 'img', 'aria-labelledby': 'picture-words' },
      line('classic', 'classic', 'causeway'), line('causeway', 'causeway', 'you'), line('bridge', 'causeway', 'viewers'), line('viewers', 'viewers', 'you'),
      node('classic', glyphOf('M5 6h5v5H5zM14 6h5v5h-5zM9.5 14h5v5h-5z'), 'Classic peers'),
      node('causeway', glyphOf('M3 16c3-8 15-8 18 0M3 16h18M8 16v-4.5M12 16v-6M16 16v-4.5'), 'Causeway'),
      node('viewers', glyphOf('M4 6h16v10H4zM9 19.5h6'), 'Other viewers'),
      node('you', glyphOf('M12 12a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM5 20c.5-4 3.5-5.5 7-5.5s6.5 1.5 7 5.5'), 'You'))
    this.words = el('p', { id: 'picture-words', class: 'unseen' }, 'Nothing moves yet.')
    this.table = el('dl', { class: 'came' })
    this.root = el('div', { class: 'both-swarms' }, this.drawing, this.words, this.table)
  }

  // show draws figures of the engine (or null without one) and what the host says.
  show (f, host, there) {
    const classic = host?.classic ?? { peers: 0, down: 0, up: 0 }
    const viewers = f?.viewers.peers ?? 0
    const others = Math.max(viewers, (host?.web?.peers ?? 0) - (f?.causeway.peers ? 1 : 0))
    const fromCauseway = (f?.causeway.down ?? 0) + (f?.host.down ?? 0)
    this.#line('classic', classic.down, classic.up, classic.peers > 0 && there)
    this.#line('causeway', fromCauseway, f?.causeway.up ?? 0, there)
    this.#line('viewers', f?.viewers.down ?? 0, f?.viewers.up ?? 0, viewers > 0)
    this.#line('bridge', 0, host?.web?.up && others ? Math.max(host.web.up - (f?.causeway.down ?? 0), 0) : 0, others > 0 && there)
    this.#node('classic', classic.peers ? count(classic.peers, 'peer') : 'none yet', classic.peers > 0)
    this.#node('causeway', there ? (f?.causeway.peers ? 'connected' : 'over HTTP') : 'out of reach', there)
    this.#node('viewers', others ? (viewers === others ? `${viewers} connected` : `${viewers} of ${others} connected`) : 'none now', others > 0)
    this.#node('you', f ? `${Math.floor(f.progress * 100)} % here` : '', true)
    this.words.textContent = sentence(f, classic, viewers, fromCauseway, there)
    const rows = f
      ? [['From Causeway', f.came.causeway + f.came.host], ['From other viewers', f.came.viewers], ['Kept from earlier', f.kept], ['Given to others', f.gave]]
      : []
    if (this.table.childElementCount !== rows.length * 1) {
      this.table.replaceChildren(...rows.map(([name]) => el('div', {}, el('dt', {}, name), el('dd', {}))))
    }
    rows.forEach(([, n], i) => { this.table.children[i].lastChild.textContent = bytes(n) })
  }

  #line (name, inward, outward, on) {
    const { path, flow, text } = this.lines[name]
    path.classList.toggle('on', on)
    const most = Math.max(inward, outward)
    const flowing = on && most > FLOWING
    flow.classList.toggle('on', flowing)
    flow.classList.toggle('back', outward > inward && name !== 'bridge')
    // A tenfold rate is a step of width.
    flow.style.setProperty('stroke-width', flowing ? String(Math.min(1.5 + Math.log10(most / FLOWING), 6)) : '0')
    text.textContent = flowing && name !== 'bridge' ? rate(most) : ''
  }

  #node (name, words, on) {
    this.nodes[name].dot.classList.toggle('off', !on)
    this.nodes[name].more.textContent = words
  }
}

function sentence (f, classic, viewers, fromCauseway, there) {
  const parts = []
  parts.push(there ? `Causeway gives you ${rate(fromCauseway)}.` : 'Causeway is out of reach.')
  if (f) parts.push(viewers ? `${count(viewers, 'other viewer')} connected: ${rate(f.viewers.down)} to you, ${rate(f.viewers.up)} from you.` : 'No other viewers are connected.')
  parts.push(classic.peers ? `Causeway has ${count(classic.peers, 'classic peer')}.` : 'Causeway has no classic peers now.')
  return parts.join(' ')
}


