// Tests of what the page does with text from outside, in Node: node --test web/test
import test from 'node:test'
import assert from 'node:assert/strict'
import { decode, parseCues } from '../src/subtitles.js'
import { parseRange } from '../src/streams.js'
import { plain, short } from '../src/dom.js'
import { bytes, clock, spoken, whyAlone } from '../src/words.js'

const encode = (text) => new TextEncoder().encode(text)

test('cues of SubRip and WebVTT', () => {
  const srt = '\ufeff1\r\n00:00:01,5 --> 00:00:02,250\r\n<font color="red">Red</font> {\\an8}words\r\nand more\r\n\r\n2\r\n01:00:00,000 --> 01:00:01,000\r\nLate\r\n'
  assert.deepEqual(parseCues(decode(encode(srt))), [
    { start: 1.5, end: 2.25, text: 'Red words\nand more', settings: '' }, { start: 3600, end: 3601, text: 'Late', settings: '' }
  ])
  const vtt = 'WEBVTT\n\nNOTE 1\n\nid\n00:01.000 --> 00:02.000 line:10%\n<i>x</i>\n\n00:03.000 --> 00:02.000\nbackwards'
  assert.deepEqual(parseCues(vtt), [{ start: 1, end: 2, text: '<i>x</i>', settings: 'line:10%' }])
})

test('text of old encodings', () => {
  assert.equal(decode(Uint8Array.of(0x47, 0x72, 0xfc, 0xdf, 0x65)), 'Grüße')
  assert.equal(decode(Uint8Array.of(0xff, 0xfe, 0x41, 0, 0xe4, 0)), 'Aä')
  assert.equal(decode(encode('日本')), '日本')
})

test('hostile subtitles take no time and throw nothing', () => {
  const began = performance.now()
  let seed = 1
  const random = () => (seed = seed * 48271 % 2147483647) / 2147483647
  const parts = ['00:00:01,000', ' --> ', '\n', '\n\n', '<', '{\\', '>', '}', '9', ':', '-', ' ', '\0', '\u202e', 'x'.repeat(2000), '<font'.repeat(500)]
  for (let i = 0; i < 3000; i++) {
    let text = ''
    for (let n = random() * 40; n > 0; n--) text += parts[Math.floor(random() * parts.length)]
    for (const cue of parseCues(text)) assert(cue.end > cue.start && cue.text)
  }
  parseCues(' '.repeat(1e6) + '00:00:01,000 --> ' + ' '.repeat(1e6))
  parseCues('<font'.repeat(3e5))
  assert(performance.now() - began < 20_000)
})

test('ranges', () => {
  const cases = [['bytes=0-', 10, { start: 0, end: 10 }], ['bytes=2-4', 10, { start: 2, end: 5 }], ['bytes=-3', 10, { start: 7, end: 10 }], ['bytes=5-99', 10, { start: 5, end: 10 }],
    ['bytes=10-', 10, 'bad'], ['bytes=4-2', 10, 'bad'], ['bytes=0-1,3-4', 10, null], ['bytes=-', 10, null], ['lines=1-2', 10, null], [null, 10, null], ['bytes=-0', 10, 'bad'], ['bytes=-99', 10, { start: 0, end: 10 }]]
  for (const [header, length, want] of cases) assert.deepEqual(parseRange(header, length), want, header)
})

test('names', () => {
  assert.equal(plain('a\u202eb\u0000c\n d\u200b'), 'a b c d')
  const long = short('ü'.repeat(5000) + '.mp4')
  assert(Array.from(long).length <= 240 && long.endsWith('.mp4'))
  assert.equal(short('💡'.repeat(300), 9), '💡'.repeat(6) + '…' + '💡'.repeat(2))
})

test('figures in words', () => {
  assert.deepEqual([0, 999, 1000, 999_600, 12_345_678, NaN].map(bytes), ['0 B', '999 B', '1.0 KB', '1.0 MB', '12 MB', '–'])
  assert.deepEqual([clock(3725), clock(61), clock(NaN)], ['1:02:05', '1:01', '–:––'])
  assert.deepEqual([spoken(0), spoken(61), spoken(7200)], ['0 seconds', '1 minute 1 second', '2 hours'])
})

test('why nobody is there', () => {
  const fine = { engine: 'ready', host: true, secure: true, webrtc: true, tracker: true, peers: 0, age: 1 }
  assert.equal(whyAlone(fine), null)
  assert.equal(whyAlone({ ...fine, peers: 2, age: 60 }), null)
  for (const [state, words] of [[{ host: false }, 'out of reach'], [{ secure: false }, 'no encryption'], [{ engine: 'missing' }, 'built without'], [{ engine: 'failed' }, 'could not start'],
    [{ webrtc: false }, 'switched off'], [{ lan: 'denied' }, 'local network'], [{ tracker: false, age: 10 }, 'tracker'], [{ blocked: true, age: 10 }, 'blocks it'], [{ age: 20 }, 'firewall']]) {
    assert(whyAlone({ ...fine, ...state }).text.includes(words), words)
  }
})
