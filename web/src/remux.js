// Plays what the browser cannot play as it is: the file is taken apart by mediabunny, its
// packets go into fragmented MP4 for Media Source Extensions, and sound that the browser
// lacks (AC-3) is decoded and encoded anew. Loaded only when such a file is opened.
import {
  ALL_FORMATS, AudioSampleSink, AudioSampleSource, CustomSource, EncodedAudioPacketSource, EncodedPacketSink,
  EncodedVideoPacketSource, Input, Mp4OutputFormat, Output, StreamTarget, canEncodeAudio
} from 'mediabunny'

const CACHE = 32 << 20 // bytes of the file that mediabunny keeps
const AHEAD = 25 // seconds that are converted ahead of what is shown
const KEEP_BEHIND = 40 // seconds that stay in the buffer behind it
const FRAGMENT = 0.5 // seconds
const SOUND_BITRATE = 192_000
const NEAR = 3 // seconds: a seek so little ahead of what is converted waits for it

const names = {
  avc: 'H.264', hevc: 'H.265', vp8: 'VP8', vp9: 'VP9', av1: 'AV1', mpeg4: 'MPEG-4', aac: 'AAC', mp3: 'MP3', opus: 'Opus', vorbis: 'Vorbis',
  flac: 'FLAC', ac3: 'AC-3', eac3: 'E-AC-3', dts: 'DTS'
}
const nameOf = (track) => names[track.codec] ?? track.codec ?? 'unknown'

const MS = globalThis.ManagedMediaSource ?? globalThis.MediaSource

// examine reads what is in a file: { words, native, possible, ... }.
export async function examine (source) {
  const input = new Input({
    formats: ALL_FORMATS,
    source: new CustomSource({
      getSize: () => source.length, read: (start, end) => source.bytes(start, end),
      maxCacheSize: CACHE, prefetchProfile: 'network', handleUnhandledError: () => {}
    })
  })
  const found = { input, close: () => { try { input.dispose() } catch { /* done */ } } }
  if (!await input.canRead()) {
    return Object.assign(found, { possible: false, nothing: true, words: 'It is in a format that this page does not know.' })
  }
  const video = await input.getPrimaryVideoTrack()
  const audio = await input.getPrimaryAudioTrack()
  if (audio && (audio.codec === 'ac3' || audio.codec === 'eac3')) await loadAC3()
  const videoCodec = video && await video.getCodecParameterString()
  const audioCodec = audio && await audio.getCodecParameterString()
  const plays = (kind, codec) => !!codec && !!MS?.isTypeSupported(`${kind}/mp4; codecs="${codec}"`)
  const videoPlays = !video || plays('video', videoCodec)
  const audioPlays = !audio || plays('audio', audioCodec) || (audio.codec === 'vorbis' && MS?.isTypeSupported('audio/webm; codecs="vorbis"'))
  const copyAudio = !audio || plays('audio', audioCodec)
  let audioTo = null
  if (audio && !copyAudio && await audio.canDecode()) {
    for (const codec of ['aac', 'opus']) {
      const known = await canEncodeAudio(codec, { numberOfChannels: Math.min(audio.numberOfChannels, 2), sampleRate: 48_000, bitrate: SOUND_BITRATE })
      const mime = codec === 'aac' ? 'mp4a.40.2' : 'opus'
      if (known && plays('audio', mime)) { audioTo = { codec, mime }; break }
    }
  }
  const contents = [video && `${nameOf(video)} video`, audio && `${nameOf(audio)} sound`].filter(Boolean).join(' and ')
  Object.assign(found, {
    video, audio, videoCodec, audioCodec, copyAudio, audioTo,
    duration: await input.computeDuration(),
    native: videoPlays && audioPlays,
    possible: !!MS && (video ? videoPlays : copyAudio || !!audioTo) && (copyAudio || !!audioTo || !audio),
    words: contents ? `It has ${contents}.` : 'It has no picture and no sound.'
  })
  if (!found.possible) {
    found.words += videoPlays ? ' This browser has no decoder for the sound.' : ' This browser has no decoder for the picture.'
    found.nothing = !videoPlays
  }
  return found
}

async function loadAC3 () {
  try {
    const { registerAc3Decoder } = await import('@mediabunny/ac3')
    if (!loadAC3.done) registerAc3Decoder()
    loadAC3.done = true
  } catch { /* the sound stays unknown */ }
}

// play feeds a player; what goes wrong later is told to failed.
export async function play (found, player, failed) {
  const media = new MS()
  const url = URL.createObjectURL(media)
  const { video } = player
  if (MS === globalThis.ManagedMediaSource) video.disableRemotePlayback = true
  let run = null
  let buffer
  let closed = false
  const codecs = [found.video && found.videoCodec, found.audio && (found.copyAudio ? found.audioCodec : found.audioTo.mime)].filter(Boolean).join(',')
  const begin = (from) => {
    run?.stop()
    run = new Run(found, media, buffer, video, from, (error) => { if (!closed) failed(error) })
  }
  const seeking = () => {
    if (!buffer || closed) return
    const at = video.currentTime
    if (within(buffer.buffered, at)) return
    if (run && at >= run.from && at < run.reached + NEAR) return
    begin(at)
  }
  const opened = new Promise((resolve) => media.addEventListener('sourceopen', resolve, { once: true }))
  video.addEventListener('seeking', seeking)
  player.take(url)
  await opened
  URL.revokeObjectURL(url)
  media.duration = found.duration
  buffer = media.addSourceBuffer(`${found.video ? 'video' : 'audio'}/mp4; codecs="${codecs}"`)
  begin(player.startAt || 0)
  return {
    close () {
      closed = true
      run?.stop()
      video.removeEventListener('seeking', seeking)
      found.close()
    }
  }
}

const within = (ranges, at) => {
  for (let i = 0; i < ranges.length; i++) if (at >= ranges.start(i) - 0.1 && at < ranges.end(i)) return true
  return false
}

// Run converts from one position on, until it is stopped by a seek.
class Run {
  constructor (found, media, buffer, video, from, failed) {
    Object.assign(this, { found, media, buffer, video, from, reached: from, stopped: false })
    this.work().catch((error) => { if (!this.stopped) failed(error) })
  }

  stop () { this.stopped = true; this.output?.cancel().catch(() => {}) }

  async work () {
    const { found } = this
    const output = this.output = new Output({
      format: new Mp4OutputFormat({ fastStart: 'fragmented', minimumFragmentDuration: FRAGMENT }),
      target: new StreamTarget(new WritableStream({ write: ({ data }) => this.append(data) }))
    })
    let videoOut, audioOut
    if (found.video) { videoOut = new EncodedVideoPacketSource(found.video.codec); output.addVideoTrack(videoOut, { rotation: found.video.rotation }) }
    if (found.audio) {
      audioOut = found.copyAudio
        ? new EncodedAudioPacketSource(found.audio.codec)
        : new AudioSampleSource({ codec: found.audioTo.codec, bitrate: SOUND_BITRATE, transform: { numberOfChannels: Math.min(found.audio.numberOfChannels, 2), sampleRate: 48_000 } })
      output.addAudioTrack(audioOut)
    }
    await output.start()
    const sink = found.video && new EncodedPacketSink(found.video)
    const first = sink && (await sink.getKeyPacket(this.from, { verifyKeyPackets: true }) ?? await sink.getFirstKeyPacket())
    const start = Math.max(first ? first.timestamp : this.from, 0)
    this.from = Math.min(start, this.from)
    await Promise.all([first && this.takeVideo(sink, first, videoOut), found.audio && this.takeAudio(audioOut, start)])
    if (this.stopped) return
    await output.finalize()
    if (!this.stopped && this.media.readyState === 'open') this.media.endOfStream()
  }

  async takeVideo (sink, first, out) {
    const decoderConfig = await this.found.video.getDecoderConfig()
    let meta = { decoderConfig }
    for await (const packet of sink.packets(first)) {
      if (this.stopped) return
      if (packet.timestamp < 0) continue
      await out.add(packet, meta)
      meta = undefined
      await this.room(packet.timestamp)
    }
    out.close()
  }

  async takeAudio (out, start) {
    const { audio, copyAudio } = this.found
    if (copyAudio) {
      const sink = new EncodedPacketSink(audio)
      let meta = { decoderConfig: await audio.getDecoderConfig() }
      const first = await sink.getPacket(start) ?? await sink.getFirstPacket()
      for await (const packet of sink.packets(first)) {
        if (this.stopped) return
        if (packet.timestamp < 0) continue
        await out.add(packet, meta)
        meta = undefined
        await this.room(packet.timestamp)
      }
    } else {
      for await (const sample of new AudioSampleSink(audio).samples(start)) {
        if (this.stopped) { sample.close(); return }
        if (sample.timestamp < 0) { sample.close(); continue }
        await out.add(sample)
        await this.room(sample.timestamp)
        sample.close()
      }
    }
    out.close()
  }

  // room waits until what is converted is wanted soon.
  async room (at) {
    this.reached = Math.max(this.reached, at)
    while (!this.stopped && at > Math.max(this.video.currentTime, this.from) + AHEAD) {
      await new Promise((resolve) => {
        const go = () => { this.video.removeEventListener('timeupdate', go); this.video.removeEventListener('seeking', go); resolve() }
        this.video.addEventListener('timeupdate', go)
        this.video.addEventListener('seeking', go)
      })
    }
  }

  // append hands bytes to the browser, and drops what lies far behind.
  async append (data) {
    if (this.stopped || this.media.readyState === 'closed') return
    const { buffer, video } = this
    const done = () => new Promise((resolve, reject) => {
      buffer.addEventListener('updateend', resolve, { once: true })
      buffer.addEventListener('error', () => reject(new Error('the browser refused the picture or the sound')), { once: true })
    })
    while (buffer.updating) await new Promise((resolve) => buffer.addEventListener('updateend', resolve, { once: true }))
    if (this.stopped || this.media.readyState === 'closed') return
    if (video.currentTime > KEEP_BEHIND * 2 && buffer.buffered.length && buffer.buffered.start(0) < video.currentTime - KEEP_BEHIND * 2) {
      const removed = done()
      buffer.remove(0, video.currentTime - KEEP_BEHIND)
      await removed
    }
    const appended = done()
    buffer.appendBuffer(data)
    await appended
  }
}
