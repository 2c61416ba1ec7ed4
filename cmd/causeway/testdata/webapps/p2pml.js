// One stream of one segment. Page 0 has it by HTTP and gives it to the others, which may
// not use HTTP.
import { Core } from 'p2p-media-loader-core'
import { page, say, tracker } from './say.js'

const core = new Core({
  announceTrackers: [tracker], rtcConfig: { iceServers: [] }, swarmId: 'a film',
  simultaneousHttpDownloads: page === 0 ? 1 : 0
})
core.addEventListener('onPeerConnect', (event) => say('peer', event.peerId))
core.addEventListener('onTrackerWarning', (event) => say('warning', event.warning.message))
core.addEventListener('onTrackerError', (event) => say('warning', event.error.message))
core.addEventListener('onSegmentLoaded', (event) => say('segment', event.downloadSource))
core.setManifestResponseUrl('http://127.0.0.1/film.m3u8')
core.addStreamIfNoneExists({ runtimeId: 'video', type: 'main', index: 0 })
core.updateStream('video', [{
  runtimeId: 'first', externalId: 0, url: new URL('/webtorrent.min.js', location).href, startTime: 0, endTime: 10
}])
core.loadSegment('first', { onSuccess: ({ data }) => say('loaded', data.byteLength), onError: (error) => say('failed', error) })
