// Builds the demo into examples/demo/dist, or dist-<backend>: the page, its service worker, and Driftline's worker and wasm files beside them.
// `driftline` is resolved by this repository's own package.json, so what is bundled is dist/ as it would be published.
import { createHash } from 'node:crypto'
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const demo = dirname(fileURLToPath(import.meta.url))
const source = join(demo, 'src')
/** What the page syncs with: `server` by its own wire, `mizu` as any mizu server is spoken to, `livestore`, or `s2` with s2-lite; each has a folder of its own. */
const backend = process.env['DRIFTLINE_DEMO_BACKEND'] ?? 'server'
const dist = join(demo, backend === 'server' ? 'dist' : `dist-${backend}`)
const library = join(demo, '../../dist')

/** Builds everything anew; a folder of an earlier build does not show through. */
async function buildDemo() {
  await requireLibrary()
  await rm(dist, { recursive: true, force: true })
  await mkdir(dist, { recursive: true })
  for (const name of ['index.html', 'app.css', 'icon.svg', 'manifest.webmanifest']) await cp(join(source, name), join(dist, name))
  // s2-lite is at another port, of which only the server that serves the page knows the number: its header says that one.
  if (backend === 's2') await replaceIn(join(dist, 'index.html'), "connect-src 'self'", "connect-src 'self' http://localhost:* http://127.0.0.1:*")
  await cp(join(library, 'worker.js'), join(dist, 'worker.js'))
  for (const name of PAGE_WASM) await cp(join(library, 'wasm', name), join(dist, 'wasm', name))
  await bundle('app.ts', 'app.js', 'esm', { BACKEND: JSON.stringify(backend) })
  const shell = await listFiles(dist)
  const version = await digestOf(shell)
  const names = shell.map(path => (path === 'index.html' ? '/' : `/${path}`))
  await bundle('sw.ts', 'sw.js', 'iife', { SHELL_FILES: JSON.stringify(names), SHELL_VERSION: JSON.stringify(version) })
  console.log(`demo: ${shell.length + 1} files in ${relative(process.cwd(), dist) || '.'}, version ${version}`)
}

async function replaceIn(file, from, to) {
  const text = await readFile(file, 'utf8')
  if (!text.includes(from)) throw new Error(`${file} does not say ${from}`)
  await writeFile(file, text.replace(from, to))
}

async function bundle(entry, out, format, define) {
  await build({
    entryPoints: [join(source, entry)], outfile: join(dist, out), bundle: true, format, define,
    minify: true, target: 'es2022', legalComments: 'none', logLevel: 'warning',
  })
}

async function requireLibrary() {
  await stat(join(library, 'index.js')).catch(() => {
    throw new Error('dist/ is not built: run `npm run build` first')
  })
}

async function listFiles(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const paths = entries.filter(entry => entry.isFile()).map(entry => relative(folder, join(entry.parentPath, entry.name)))
  return paths.map(path => path.split(sep).join('/')).sort()
}

async function digestOf(paths) {
  const hash = createHash('sha256')
  for (const path of paths) hash.update(`${path}\0`).update(await readFile(join(dist, path)))
  return hash.digest('hex').slice(0, 16)
}

const PAGE_WASM = ['client.wasm', 'worker.wasm']

await buildDemo()
