// What is shown of files that are not played: images, text, and what cannot be shown.
import { el, icon, nameOf } from './dom.js'
import { bytes } from './words.js'
import { decode } from './subtitles.js'

// MAX_TEXT is how much of a text file is shown, in bytes.
const MAX_TEXT = 512 << 10

export async function showFile (source, box) {
  const { file } = source
  if (file.kind === 'image') {
    const image = el('img', { alt: '', class: 'shown-image' })
    image.addEventListener('error', () => { box.replaceChildren(card(source, 'This image cannot be shown here.')) })
    image.src = source.url
    image.alt = source.name
    box.replaceChildren(image)
    return
  }
  if (file.kind === 'text' || file.kind === 'subtitle') {
    box.replaceChildren(el('p', { class: 'quiet' }, 'Loading…'))
    try {
      const text = decode(await source.bytes(0, Math.min(file.length, MAX_TEXT)))
      const more = file.length > MAX_TEXT ? el('p', { class: 'quiet' }, `The first ${bytes(MAX_TEXT)} of ${bytes(file.length)}.`) : null
      box.replaceChildren(el('pre', { class: 'shown-text', tabindex: '0', dir: 'auto' }, text), ...(more ? [more] : []))
    } catch (error) {
      box.replaceChildren(card(source, `This text could not be loaded: ${error.message}.`))
    }
    return
  }
  box.replaceChildren(card(source, 'This kind of file cannot be shown here. Download it to open it.'))
}

export const card = (source, words) => el('div', { class: 'file-card' }, icon('file'),
  el('p', {}, nameOf(source.name)), el('p', { class: 'quiet' }, `${bytes(source.length)}. ${words}`))
