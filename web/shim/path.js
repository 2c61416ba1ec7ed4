// The parts of Node's path that webtorrent and create-torrent use in a browser.
export const sep = '/'
export const join = (...parts) => parts.filter(Boolean).join('/').replace(/\/+/g, '/')
export const normalize = (p) => join(p)
export const basename = (p) => p.slice(p.lastIndexOf('/') + 1)
export const dirname = (p) => p.slice(0, Math.max(p.lastIndexOf('/'), 0)) || '.'
export const extname = (p) => /\.[^./]*$/.exec(p)?.[0] ?? ''
export default { sep, join, normalize, basename, dirname, extname }
