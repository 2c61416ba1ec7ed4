// Runs one scenario against a page in a real browser, and prints what it found as a JSON
// line: node run.mjs '{"scenario":"plays","browser":"chromium","url":"http://..."}'.
// The tests in web/*_test.go start hosts, trackers and peers, and judge the findings.
import { launch } from './browser.mjs'
import * as scenarios from './scenarios.mjs'

const o = JSON.parse(process.argv[2])
process.stdin.on('end', () => process.exit(1)).resume()
let browser
try {
  browser = await launch(o.browser, { profile: o.profile, flags: o.flags, downloads: o.folder, executable: o.executable })
  const logs = []
  const open = async (url = o.url, before) => {
    const page = await browser.newPage()
    page.on('console', (m) => logs.push(m.text()))
    page.on('pageerror', (e) => logs.push(`error: ${e.message}`))
    await page.setViewport(o.phone ? { width: 390, height: 844, deviceScaleFactor: 2 } : { width: 1280, height: 900 })
    if (before) await before(page)
    await page.goto(url)
    return page
  }
  const found = await scenarios[o.scenario]({ ...o, instance: browser, open, logs })
  console.log(JSON.stringify({ ...found, logs }))
  await browser.close()
  process.exit(0)
} catch (error) {
  console.error(error.stack)
  await browser?.close().catch(() => {})
  process.exit(1)
}
