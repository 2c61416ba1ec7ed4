// What the pages have in common: TRACKER is a URL that the test put into the page, the
// number after the question mark tells the pages apart, and what happens is told to the
// server that the page came from.
export const page = Number(location.search.slice(1))
export const tracker = globalThis.TRACKER
export const say = (event, message) => fetch('/event', {
  method: 'POST', body: JSON.stringify({ page, event, message: String(message ?? '') })
})
addEventListener('unhandledrejection', (event) => say('error', event.reason?.stack ?? event.reason))
addEventListener('error', (event) => say('error', event.message))
