// Starts a headless browser as tests want it: await launch('chromium' | 'firefox', options).
import puppeteer from 'puppeteer-core'

const chromeFlags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--allow-loopback-in-peer-connection', '--autoplay-policy=no-user-gesture-required', '--mute-audio'
]

export async function launch (name, { flags, profile, executable, downloads } = {}) {
  const firefox = name === 'firefox'
  flags ??= []
  const browser = await puppeteer.launch({
    browser: firefox ? 'firefox' : 'chrome',
    executablePath: executable,
    headless: true, userDataDir: profile, handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false,
    ...(firefox
      ? { extraPrefsFirefox: {
          'media.peerconnection.ice.loopback': true, 'media.autoplay.default': 0, 'media.autoplay.blocking_policy': 0,
          'browser.download.folderList': 2, 'browser.download.useDownloadDir': true, 'browser.download.always_ask_before_handling_new_types': false,
          ...(downloads ? { 'browser.download.dir': downloads } : {})
        } }
      : { args: [...chromeFlags, ...flags] })
  })
  const kill = () => { try { process.kill(-browser.process().pid, 'SIGKILL') } catch { /* it has ended */ } }
  process.on('exit', kill)
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => process.exit(1))
  return browser
}
