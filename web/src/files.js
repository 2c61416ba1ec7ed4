// The list of a torrent's files: folders that open and close, what plays now, and saving.
import { el, button, icon, nameOf, say, short } from './dom.js'
import { bytes } from './words.js'

// MAX_ROWS is how many files of a folder are shown before "show all".
const MAX_ROWS = 300

export const kindIcon = { video: 'video', audio: 'audio', image: 'image', text: 'text' }

// tree sorts files into folders: { name, folders: Map, files: [] }.
export function tree (files) {
  const root = { name: '', folders: new Map(), files: [], length: 0 }
  for (const file of files) {
    const parts = file.path.split('/')
    let at = root
    at.length += file.length
    for (const part of parts.slice(0, -1)) {
      if (!at.folders.has(part)) at.folders.set(part, { name: part, folders: new Map(), files: [], length: 0 })
      at = at.folders.get(part)
      at.length += file.length
    }
    at.files.push(file)
  }
  return root
}

export class FileList {
  // on has { open(file), save(file) }.
  constructor (torrent, on) {
    this.rows = new Map()
    this.on = on
    this.root = el('div', { class: 'files' }, this.#folder(tree(torrent.files), true))
  }

  #folder (folder, top) {
    const list = el('ul', {})
    for (const inner of folder.folders.values()) {
      const details = el('details', {}, el('summary', {}, icon('folder'), nameOf(inner.name, { class: 'name' }), el('span', { class: 'size' }, bytes(inner.length))))
      // Thousands of rows are made when they are looked at.
      details.addEventListener('toggle', () => { if (details.open && !details.made) { details.made = true; details.append(this.#folder(inner)); this.mark(this.current) } })
      details.open = top && folder.files.length === 0 && folder.folders.size === 1
      list.append(el('li', { class: 'folder' }, details))
    }
    const show = (files) => list.append(...files.map((file) => this.#row(file)))
    show(folder.files.slice(0, MAX_ROWS))
    if (folder.files.length > MAX_ROWS) {
      const more = el('li', {}, button('more', `Show all ${folder.files.length} files`, () => { more.remove(); show(folder.files.slice(MAX_ROWS)) }, { text: true }))
      list.append(more)
    }
    return list
  }

  #row (file) {
    const name = file.path.slice(file.path.lastIndexOf('/') + 1)
    const row = el('li', { class: `file ${file.kind}` },
      el('button', { type: 'button', class: 'open', onclick: () => this.on.open(file) },
        icon(kindIcon[file.kind] ?? 'file'), nameOf(name, { class: 'name' }), el('span', { class: 'size' }, bytes(file.length))),
      button('download', `Download ${short(name, 60)}`, () => this.on.save(file), { class: 'tool save' }))
    this.rows.set(file.index, row)
    return row
  }

  // mark shows which file is open.
  mark (index) {
    this.current = index
    for (const [i, row] of this.rows) {
      row.classList.toggle('current', i === index)
      const open = row.querySelector('.open')
      if (i === index) open.setAttribute('aria-current', 'true')
      else open.removeAttribute('aria-current')
    }
  }
}

// save has the browser download a URL that is answered as an attachment. It is opened as a
// link, not with the download attribute: Chromium has no service worker see those.
export function save (url) {
  const link = el('a', { href: url })
  document.body.append(link)
  link.click()
  link.remove()
  say('The download has begun')
}

// zipURL publishes all files as one zip that is made while it is read (ZIP64 where need be).
export async function zipURL (torrent, sources, publish) {
  const { makeZip, predictLength } = await import('client-zip')
  const files = sources.map((s) => ({ name: `${folderName(torrent.name)}/${safePath(s.file.path)}`, size: s.length, source: s }))
  const length = Number(predictLength(files.map(({ name, size }) => ({ name, size }))))
  return publish(`zip/${torrent.infohash}`, {
    length: undefined, type: 'application/zip', name: `${torrent.name}.zip`, save: true, estimate: length,
    read: async function * () {
      const stream = makeZip((function * () {
        for (const { name, size, source } of files) yield { name, size, input: streamOf(source), lastModified: new Date(0) }
      })())
      const reader = stream.getReader()
      try {
        for (;;) {
          const { value, done } = await reader.read()
          if (done) return
          yield value
        }
      } finally { reader.cancel().catch(() => {}) }
    }
  })
}

function streamOf (source) {
  const chunks = source.chunks(0, source.length, { urgent: false })
  return new ReadableStream({
    async pull (controller) {
      const { value, done } = await chunks.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    cancel () { chunks.return?.() }
  })
}

// safePath keeps an archive's names inside of its folder, whoever unpacks it.
function safePath (path) {
  return path.split(/[/\\]/).map(folderName).join('/')
}
const folderName = (name) => {
  const clean = Array.from(name.replace(/[\u0000-\u001f\u007f<>:"|?*\\/]/g, '_')).slice(0, 120).join('').replace(/[. ]+$/, '')
  return /^\.*$/.test(clean) ? '_' : clean
}
