// What this browser remembers of playing: where you were, how loud, how fast. Nothing of it
// leaves the browser.
const KEY = 'causeway.player'
const MAX_PLACES = 200

const load = () => { try { return JSON.parse(localStorage.getItem(KEY)) ?? {} } catch { return {} } }
const store = (all) => { try { localStorage.setItem(KEY, JSON.stringify(all)) } catch { /* full, or off */ } }

export function place (id) { return load().places?.[id] }

// setPlace keeps a position in seconds; one near the start or the end is none.
export function setPlace (id, at, duration) {
  const all = load()
  all.places ??= {}
  delete all.places[id]
  if (at > 5 && at < duration - 10) all.places[id] = { at: Math.floor(at), duration: Math.floor(duration) }
  const ids = Object.keys(all.places)
  for (const old of ids.slice(0, Math.max(ids.length - MAX_PLACES, 0))) delete all.places[old]
  store(all)
}

export const setting = (name, fallback) => load().settings?.[name] ?? fallback
export function setSetting (name, value) { const all = load(); (all.settings ??= {})[name] = value; store(all) }
export function forgetPlaces () { try { localStorage.removeItem(KEY) } catch { /* off */ } }
