// Elements without HTML text: whatever comes from a torrent or a host becomes text nodes
// and attributes, never markup.

// MAX_NAME bounds what is shown of one name, in code points: torrents may have names of
// kilobytes. The whole name stays in the element's title, up to MAX_TITLE.
const MAX_NAME = 240
const MAX_TITLE = 1000

// invisible are the characters that reorder or hide text around them (Unicode bidi
// controls, zero-width ones) and control characters.
const invisible = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

// el makes an element: el('p', { class: 'note' }, 'text', child). Properties that begin
// with "on" are listeners; the rest are attributes; undefined, null and false are left out.
export function el (tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children)
}

// svg does the same for SVG.
export function svg (tag, props = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), props, children)
}

function fill (node, props, children) {
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value)
    else node.setAttribute(key, value === true ? '' : value)
  }
  node.append(...children.flat().filter((c) => c !== undefined && c !== null && c !== false))
  return node
}

// plain makes a name fit for one line of text.
export function plain (name) {
  return String(name ?? '').replace(invisible, ' ').replace(/\s+/g, ' ').trim()
}

// short cuts a name in its middle, so that its extension stays.
export function short (name, max = MAX_NAME) {
  const points = Array.from(plain(name))
  if (points.length <= max) return points.join('')
  const tail = Math.floor(max / 4)
  return points.slice(0, max - tail - 1).join('') + '…' + points.slice(-tail).join('')
}

// nameOf shows a name from outside on its own: <bdi> keeps its direction from its
// surroundings.
export function nameOf (name, props = {}) {
  const text = plain(name)
  return el('bdi', { title: text.length > 40 ? text.slice(0, MAX_TITLE) : undefined, ...props }, short(text) || 'unnamed')
}

const paths = {
  play: 'M8 5.5v13l11-6.5z',
  pause: 'M7 5h3.5v14H7zM13.5 5H17v14h-3.5z',
  back: 'M11 7 5 12l6 5zM19 7l-6 5 6 5z',
  next: 'M6 6l9 6-9 6zM16.5 6H19v12h-2.5z',
  sound: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM14.5 8.5a5 5 0 0 1 0 7M17 6a8.5 8.5 0 0 1 0 12',
  mute: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15 9.5l5 5M20 9.5l-5 5',
  captions: 'M4 6h16v12H4zM7 11h5M7 14.5h3M14 11h3M12 14.5h5',
  full: 'M5 9V5h4M15 5h4v4M19 15v4h-4M9 19H5v-4',
  pip: 'M4 6h16v12H4zM12 12h6v4h-6z',
  download: 'M12 4v11M7.5 11l4.5 4.5 4.5-4.5M5 19.5h14',
  link: 'M9.5 14.5l5-5M8 11l-2.2 2.2a3.5 3.5 0 0 0 5 5L13 16M16 13l2.2-2.2a3.5 3.5 0 0 0-5-5L11 8',
  magnet: 'M6 4v8a6 6 0 0 0 12 0V4h-4v8a2 2 0 0 1-4 0V4zM6 7.5h4M14 7.5h4',
  file: 'M6 3.5h8l4 4v13H6zM14 3.5v4h4',
  folder: 'M3.5 6h6l2 2.5h9V19h-17z',
  video: 'M4 6h16v12H4zM10 9.5v5l4.5-2.5z',
  audio: 'M9 17.5V6l10-2v11.5M9 17.5a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zM19 15.5a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z',
  image: 'M4 5.5h16v13H4zM4 16l5-5 4 4 2.5-2.5L20 16M15.5 9.5h.01',
  text: 'M6 3.5h12v17H6zM9 8h6M9 12h6M9 16h4',
  close: 'M6 6l12 12M18 6 6 18',
  help: 'M9.3 9a2.8 2.8 0 1 1 4.2 2.4c-1 .6-1.5 1.1-1.5 2.3M12 17h.01',
  more: 'M6 12h.01M12 12h.01M18 12h.01',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  up: 'M12 19V8M7.5 12 12 7.5 16.5 12M5 4.5h14',
  speed: 'M4.5 17a8.5 8.5 0 1 1 15 0M12 15l4-5'
}
const filled = new Set(['play', 'pause', 'back', 'next'])

export function icon (name) {
  const known = paths[name] ? name : 'file'
  return svg('svg', { viewBox: '0 0 24 24', class: filled.has(known) ? 'icon filled' : 'icon', 'aria-hidden': 'true' },
    svg('path', { d: paths[known] }))
}

// button is an icon with a name for screen readers, or with text beside it.
export function button (iconName, label, run, props = {}) {
  const { text, ...rest } = props
  return el('button', { type: 'button', class: text ? 'button' : 'tool', 'aria-label': text ? undefined : label, title: text ? undefined : label, onclick: run, ...rest },
    icon(iconName), text ? el('span', {}, label) : null)
}

// setIcon changes what a tool shows and is called.
export function setIcon (tool, iconName, label) {
  tool.querySelector('svg').replaceWith(icon(iconName))
  tool.setAttribute('aria-label', label)
  tool.title = label
}

// say has screen readers speak a short line, and shows it for a moment.
export function say (text) {
  const box = document.getElementById('said')
  box.textContent = text
  box.classList.add('shown')
  clearTimeout(say.timer)
  say.timer = setTimeout(() => box.classList.remove('shown'), 3500)
}

export async function copy (text, what) {
  try {
    await navigator.clipboard.writeText(text)
  } catch { // not a secure page, or not allowed
    const area = el('textarea', { 'aria-hidden': 'true', class: 'unseen' })
    area.value = text
    document.body.append(area)
    area.select()
    const done = document.execCommand('copy')
    area.remove()
    if (!done) { window.prompt(`Copy the ${what}:`, text); return }
  }
  say(`The ${what} is copied`)
}
