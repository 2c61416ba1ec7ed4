// Takes the pictures of docs/screenshots of a page that `go run ./web/preview` serves:
//
//	node web/test/shots.mjs http://127.0.0.1:8090/ docs/screenshots /usr/bin/chromium [HASH]
import { launch } from './browser.mjs'

const [,, url, folder, executable, hash = ''] = process.argv
const looks = [
  ['desktop-light', { width: 1280, height: 1080 }, 'light'], ['desktop-dark', { width: 1280, height: 1080 }, 'dark'],
  ['phone-light', { width: 390, height: 844, deviceScaleFactor: 2, isMobile: true, hasTouch: true }, 'light'],
  ['phone-dark', { width: 390, height: 844, deviceScaleFactor: 2, isMobile: true, hasTouch: true }, 'dark']
]
const browser = await launch('chromium', { executable })
// Somebody else watches, too.
const other = await (await browser.createBrowserContext()).newPage()
await other.goto(url + hash)
for (const [name, viewport, scheme] of looks) {
  const page = await (await browser.createBrowserContext()).newPage()
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
  await page.setViewport(viewport)
  await page.goto(url + hash)
  await page.waitForFunction(() => document.querySelector('video')?.readyState >= 2)
  await page.evaluate(() => { document.querySelector('video').currentTime = 9 })
  await page.waitForFunction(() => [...causeway.engine.swarms.values()][0]?.figures().met > 0)
  await new Promise((resolve) => setTimeout(resolve, 2500))
  await page.screenshot({ path: `${folder}/${name}.webp`, type: 'webp', quality: 72 })
  await page.close()
}
await browser.close()
process.exit(0)
