// The clock of timers.js: { id, ms, repeat } starts a timer, { id } stops it.
const timers = new Map()
self.onmessage = ({ data: { id, ms, repeat } }) => {
  clearInterval(timers.get(id)) // the same as clearTimeout, by the HTML standard
  timers.delete(id)
  if (ms === undefined) return
  timers.set(id, repeat
    ? setInterval(() => self.postMessage(id), ms)
    : setTimeout(() => { timers.delete(id); self.postMessage(id) }, ms))
}
