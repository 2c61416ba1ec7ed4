// Bundles the page into dist/, compressed: `node build.mjs`, or `make web`. What is built
// is not committed; Go embeds whatever is there (see doc.go).
//
// Files keep their names: the Go side serves them below a folder that is named after the
// content of them all, so that import.meta.url finds neighbours and caches never err.
import { build } from 'esbuild'
import { gzipSync } from 'node:zlib'
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createRequire } from 'node:module'

const here = import.meta.dirname
const dist = path.join(here, 'dist')
const modules = path.join(here, 'node_modules')
const require = createRequire(import.meta.url)

// Node's own modules that webtorrent's packages name; its browser bundle has the same.
const builtins = {
  events: require.resolve('events/'),
  path: path.join(here, 'shim', 'path.js'),
  process: path.join(here, 'shim', 'process.js'),
  crypto: path.join(here, 'shim', 'nothing.cjs'),
  util: path.join(here, 'shim', 'nothing.cjs'),
  debug: path.join(here, 'shim', 'debug.js')
}
const common = {
  bundle: true,
  format: 'esm',
  target: ['chrome108', 'firefox110', 'safari16'],
  minify: true,
  legalComments: 'none',
  write: false,
  logLevel: 'warning',
  outdir: dist
}

const outputs = []
const add = (name, content) => outputs.push([name, Buffer.from(content)])

const page = await build({
  ...common,
  entryPoints: [path.join(here, 'src', 'app.js')],
  splitting: true,
  chunkNames: 'chunk-[hash]',
  metafile: true,
  alias: builtins,
  inject: [builtins.process],
  define: {
    'process.browser': 'true',
    global: 'globalThis',
    // A hidden page is idle once a second: the engine must not wait for that.
    'window.requestIdleCallback': 'undefined'
  },
  plugins: [engineTimers(), leaveOut()]
})
for (const f of page.outputFiles) add(path.basename(f.path), f.contents)

// Workers are files of their own.
const workers = await build({
  ...common,
  entryPoints: [
    path.join(here, 'src', 'timer-worker.js'),
    { in: path.join(modules, 'jassub', 'dist', 'worker', 'worker.js'), out: 'subtitle-worker' }
  ],
  define: { 'import.meta.env': 'undefined' }
})
for (const f of workers.outputFiles) add(path.basename(f.path), f.contents)
const service = await build({ ...common, format: 'iife', entryPoints: [path.join(here, 'src', 'sw.js')] })
add('sw.js', service.outputFiles[0].contents)
const styles = await build({ ...common, entryPoints: [path.join(here, 'src', 'base.css'), path.join(here, 'src', 'page.css')] })
for (const f of styles.outputFiles) add(path.basename(f.path), f.contents)
add('icon.svg', readFileSync(path.join(here, 'src', 'icon.svg')))
add('subtitle.wasm', readFileSync(path.join(modules, 'jassub', 'dist', 'wasm', 'jassub-worker-modern.wasm')))
add('subtitle.woff2', readFileSync(path.join(modules, 'jassub', 'dist', 'default.woff2')))

mkdirSync(dist, { recursive: true })
for (const old of readdirSync(dist)) if (old.endsWith('.gz')) rmSync(path.join(dist, old))
let first = 0
// Everything that the page imports before anything is played: not what it loads on demand.
const atOnce = new Set()
const follow = (file) => {
  if (atOnce.has(file)) return
  atOnce.add(file)
  const dynamicEngine = (i) => i.kind === 'dynamic-import' && page.metafile.outputs[i.path]?.entryPoint?.endsWith('engine.js')
  for (const i of page.metafile.outputs[file]?.imports ?? []) if (i.kind === 'import-statement' || dynamicEngine(i)) follow(i.path)
}
follow(Object.keys(page.metafile.outputs).find((f) => f.endsWith('/app.js')))
const names = new Set([...atOnce].map((f) => path.basename(f)))
for (const plain of ['sw.js', 'timer-worker.js', 'base.css', 'page.css']) names.add(plain)
for (const [name, content] of outputs) {
  const packed = gzipSync(content, { level: 9 })
  if (names.has(name)) first += packed.length
  writeFileSync(path.join(dist, name + '.gz'), packed)
  if (process.argv.includes('--verbose')) console.log(name.padEnd(24), content.length, packed.length, names.has(name) ? 'at once' : '')
}
writeFileSync(path.join(dist, 'weight.txt.gz'), gzipSync(`${first}\n`))
console.log(`page: ${(first / 1024).toFixed(0)} KiB compressed before a player needs more`)

// engineTimers has everything under node_modules take its timers from a worker, where
// browsers do not slow them down while the page is hidden.
function engineTimers () {
  const shim = path.join(here, 'src', 'timers.js')
  return {
    name: 'engine timers',
    setup (b) {
      b.onLoad({ filter: /node_modules.*\.js$/ }, ({ path: file }) => {
        const text = readFileSync(file, 'utf8')
        if (/mediabunny|jassub/.test(file) || !/\b(set|clear)(Timeout|Interval)\b/.test(text)) return undefined
        const head = `import { setTimeout, setInterval, clearTimeout, clearInterval } from ${JSON.stringify(shim)};\n`
        // CommonJS modules cannot import; those that use timers here are all ES modules.
        if (!/^\s*(import|export)\b/m.test(text)) return undefined
        return { contents: head + text, loader: 'js', resolveDir: path.dirname(file) }
      })
    }
  }
}

// leaveOut drops what a page has no use for, which webtorrent's own browser bundle leaves
// out, too; and its store, which empties a folder that other pages of the origin use:
// ours is src/store.js.
function leaveOut () {
  const names = ['@silentbot1/nat-api', 'bittorrent-dht', 'bittorrent-lsd', 'load-ip-set', 'ut_pex', 'socks',
    'fs', 'http', 'https', 'net', 'os', 'dgram', 'fs-chunk-store', 'fsa-chunk-store']
  return {
    name: 'leave out',
    setup (b) {
      const filter = new RegExp(`^(${names.join('|')})$`)
      b.onResolve({ filter }, () => ({ path: path.join(here, 'shim', 'nothing.cjs') }))
      b.onResolve({ filter: /^\.\/(lib\/)?(conn-pool\.js|utp\.cjs)$/ }, () => ({ path: path.join(here, 'shim', 'nothing.cjs') }))
    }
  }
}
