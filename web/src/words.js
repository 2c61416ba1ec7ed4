// Figures and states in words for people.

export function bytes (n) {
  if (!Number.isFinite(n) || n < 0) return '–'
  if (n < 1000) return `${Math.round(n)} B`
  const units = ['KB', 'MB', 'GB', 'TB', 'PB']
  let v = n
  let unit = -1
  do { v /= 1000; unit++ } while (v >= 999.5 && unit < units.length - 1)
  return `${v < 10 ? v.toFixed(1) : Math.round(v)} ${units[unit]}`
}

export const rate = (n) => n < 500 ? '0 KB/s' : `${bytes(n)}/s`

export function clock (seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return '–:––'
  const s = Math.floor(seconds)
  const two = (n) => String(n).padStart(2, '0')
  const h = Math.floor(s / 3600)
  const m = Math.floor(s / 60) % 60
  return h ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`
}

// spoken is a time for screen readers.
export function spoken (seconds) {
  const s = Math.max(Math.floor(seconds) || 0, 0)
  const parts = [[Math.floor(s / 3600), 'hour'], [Math.floor(s / 60) % 60, 'minute'], [s % 60, 'second']]
    .filter(([n], i) => n || (i === 2 && s < 60))
  return parts.map(([n, unit]) => `${n} ${unit}${n === 1 ? '' : 's'}`).join(' ')
}

export function left (seconds) {
  if (!Number.isFinite(seconds)) return ''
  if (seconds < 60) return 'less than a minute left'
  const minutes = Math.round(seconds / 60)
  if (minutes < 90) return `${minutes} minute${minutes === 1 ? '' : 's'} left`
  return `about ${Math.round(minutes / 60)} hours left`
}

export const count = (n, one, many = one + 's') => `${n} ${n === 1 ? one : many}`

// whyAlone says why there is nobody to fetch from directly, and what that means. state has
// { engine, secure, webrtc, blocked, lan, host, tracker, peers, age }.
export function whyAlone (state) {
  if (!state.host) {
    return { level: 'bad', text: state.peers
      ? 'The computer that shares this is out of reach. What other viewers have still arrives, and the page goes on by itself when it is back.'
      : 'The computer that shares this is out of reach: it may be asleep, offline, or the share has ended. The page goes on by itself when it is back.' }
  }
  if (!state.secure) {
    return { level: 'note', text: 'This link has no encryption (http), so browsers do not let the page exchange data with other viewers. Everything comes straight from the computer that shares it.' }
  }
  if (state.engine === 'missing') {
    return { level: 'note', text: 'Everything comes straight from the computer that shares this; its copy of Causeway was built without the part that exchanges data with other viewers.' }
  }
  if (state.engine === 'failed') {
    return { level: 'note', text: 'The part that exchanges data with other viewers could not start in this browser. Everything comes straight from the computer that shares this.' }
  }
  if (!state.webrtc) {
    return { level: 'note', text: 'WebRTC is switched off in this browser (by a setting, a policy or an extension), so it cannot reach other viewers. Everything comes straight from the computer that shares this.' }
  }
  if (state.peers) return null
  if (state.lan === 'denied') {
    return { level: 'note', text: 'This browser may not reach devices on your local network: the permission for this site is denied. Everything comes over HTTP instead; allow “local network access” in the site’s settings to change that.' }
  }
  if (!state.tracker && state.age > 6) {
    return { level: 'note', text: 'The tracker that introduces viewers to each other does not answer. Everything comes over HTTP until it does; the page keeps trying.' }
  }
  if (state.blocked && state.age > 4) {
    return { level: 'note', text: 'WebRTC finds no way out of this browser: a policy or an extension blocks it. Everything comes over HTTP instead.' }
  }
  if (state.age > 15) {
    return { level: 'note', text: 'No direct connection came about: a firewall may be in the way. Everything comes over HTTP instead; the page keeps trying.' }
  }
  return null
}
