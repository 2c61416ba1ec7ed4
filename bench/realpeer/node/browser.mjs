// Opens a URL in some pages of a headless browser, and closes it when standard input
// ends. What the pages do is their own affair. Usage: node browser.mjs OPTIONS
import puppeteer from 'puppeteer-core'

const o = JSON.parse(process.argv[2])

// Peers have loopback addresses here; there may be no other network.
const launch = {
  chrome: {
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
      '--allow-loopback-in-peer-connection',
      ...(o.showAddresses ? ['--disable-features=WebRtcHideLocalIpsWithMdns'] : [])
    ]
  },
  firefox: {
    extraPrefsFirefox: {
      'media.peerconnection.ice.loopback': true,
      'media.peerconnection.ice.obfuscate_host_addresses': !o.showAddresses
    }
  }
}[o.browser]

// The browser ends with this process, however that ends: it has a process group of
// its own, which nobody else knows.
let browser
process.on('exit', () => {
  try { process.kill(-browser.process().pid, 'SIGKILL') } catch { /* it has ended */ }
})
const end = () => process.exit()
process.on('SIGTERM', end).on('SIGINT', end)
process.stdin.on('end', end).resume()
process.stdout.on('error', end) // nobody listens any more

browser = await puppeteer.launch({
  browser: o.browser, executablePath: o.path, userDataDir: o.profile, headless: true,
  handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false, ...launch
})
browser.on('disconnected', () => process.exit(1))

async function open (url) {
  const page = await browser.newPage()
  if (o.reopen) {
    page.on('error', () => { // its process has died
      page.close().catch(() => {})
      open(url).catch((error) => console.log(url, error.message))
    })
  }
  page.on('console', (message) => console.log(url, message.text()))
  page.on('pageerror', (error) => console.log(url, error.message))
  await page.goto(url)
}
for (const url of o.urls) await open(url)
