// Timers that go on at full speed while the page is hidden: browsers slow down a page's
// own ones to one a second or less, but not those of its workers. The engine's packages
// are bundled with these in place of the global ones (see build.mjs).
const page = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout, setInterval: globalThis.setInterval, clearInterval: globalThis.clearInterval }
const running = new Map() // id -> { run, args, repeat }
let last = 1e9 // far from the page's own, so that none is taken for one of them
let worker

function start () {
  worker = new Worker(new URL('./timer-worker.js', import.meta.url), { name: 'timers' })
  worker.onmessage = ({ data: id }) => {
    const timer = running.get(id)
    if (!timer) return
    if (!timer.repeat) running.delete(id)
    timer.run(...timer.args)
  }
  worker.onerror = () => fallBack()
}

// fallBack moves what is running to the page's own timers: without a worker, late is
// better than never.
function fallBack () {
  worker = null
  for (const [id, timer] of running) {
    timer.own = timer.repeat
      ? page.setInterval.call(globalThis, timer.run, timer.ms, ...timer.args)
      : page.setTimeout.call(globalThis, () => { running.delete(id); timer.run(...timer.args) }, timer.ms)
  }
}

function add (repeat, run, ms, args) {
  if (worker === undefined) start()
  const id = ++last
  const timer = { run, args, repeat, ms: Math.max(Number(ms) || 0, 0) }
  running.set(id, timer)
  if (worker) worker.postMessage({ id, ms: timer.ms, repeat })
  else {
    timer.own = repeat
      ? page.setInterval.call(globalThis, run, timer.ms, ...args)
      : page.setTimeout.call(globalThis, () => { running.delete(id); run(...args) }, timer.ms)
  }
  return id
}

function clear (id) {
  const timer = running.get(id)
  if (!timer) return
  running.delete(id)
  if (timer.own !== undefined) page.clearInterval.call(globalThis, timer.own)
  else worker?.postMessage({ id })
}

export const setTimeout = (run, ms, ...args) => add(false, run, ms, args)
export const setInterval = (run, ms, ...args) => add(true, run, ms, args)
export const clearTimeout = clear
export const clearInterval = clear
