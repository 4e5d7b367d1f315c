// A site for the service worker alone: its pages, its bundles, and a remote whose faults a test chooses.
import { existsSync } from 'node:fs'
import { readFile, readdir } from 'node:fs/promises'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Reads `tests/vectors/range`: its blobs with their bytes, and its cases. */
export async function readVectors() {
  const folder = new URL('../../vectors/range/', import.meta.url)
  const read = async name => JSON.parse(await readFile(new URL(name, folder), 'utf8'))
  const { blobs } = await read('blobs.json')
  for (const blob of Object.values(blobs)) {
    blob.bytes = 'text' in blob ? Buffer.from(blob.text) : Buffer.from(Array.from({ length: blob.pattern }, (_, i) => i % 251))
  }
  const files = (await readdir(folder)).filter(name => name !== 'blobs.json')
  const cases = (await Promise.all(files.map(read))).flatMap(file => file.cases)
  return { blobs, cases }
}

/** Serves pages, scripts and the remote on loopback. */
export class Site {
  /** What was asked of the remote: `{ method, hash, range, ifRange, authorization }`. */
  asked = []
  /** How the remote behaves; see `#remote`. */
  behaviour = 'ranges'
  /** By hash. */
  blobs = new Map()
  #scripts = new Map()
  #server

  static async start() {
    const glue = `${root}/target/wasm-pack/sw/sw_bg.wasm`
    if (!existsSync(glue)) throw new Error('the wasm file of the service worker is missing: run `cargo xtask build` first')
    const site = new Site()
    site.#scripts.set('/driftline-sw.js', await bundle({ entryPoints: ['sw/ready.ts'], format: 'iife' }))
    site.#scripts.set('/page.js', await bundle({ stdin: script(PAGE), format: 'iife' }))
    site.setShell('1', ['/', '/page.js'])
    await site.#bundleShell()
    site.#server = createServer((request, response) => void site.#answer(request, response))
    await new Promise(resolve => site.#server.listen(0, '127.0.0.1', resolve))
    site.origin = `http://127.0.0.1:${site.#server.address().port}`
    return site
  }

  async stop() {
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  /** Sets the version and the list of the app's own service worker, `/app-sw.js`. */
  setShell(version, precache) {
    this.shell = { version, precache }
  }

  async #bundleShell() {
    this.#scripts.set('/shell.js', await bundle({ stdin: script(SHELL), format: 'iife' }))
  }

  async #answer(request, response) {
    const { pathname } = new URL(request.url, this.origin)
    const send = (status, headers, body = '') => response.writeHead(status, headers).end(body)
    if (pathname.startsWith('/remote/')) return this.#remote(request, response, pathname.slice('/remote/'.length))
    if (pathname === '/app-sw.js') {
      const settings = `self.SHELL = ${JSON.stringify(this.shell)};`
      return send(200, SCRIPT, settings + this.#scripts.get('/shell.js'))
    }
    if (this.#scripts.has(pathname)) return send(200, SCRIPT, this.#scripts.get(pathname))
    if (pathname === '/replay') return send(200, { 'content-type': 'text/html', ...this.replay.headers }, this.replay.body)
    if (pathname === '/' || pathname === '/deep') {
      return send(200, { 'content-type': 'text/html' }, `<!doctype html><title>${this.shell.version}</title><script src="/page.js"></script>`)
    }
    return send(404, { 'content-type': 'application/json' }, '{"code":"not_found","message":"no such page"}')
  }

  #remote(request, response, hash) {
    const { range, 'if-range': ifRange, authorization, origin } = request.headers
    const shared = origin
      ? { 'access-control-allow-origin': origin, 'access-control-allow-headers': '*', 'access-control-expose-headers': 'etag, content-range' }
      : {}
    const send = (status, headers, body = '') =>
      response.writeHead(status, { ...shared, ...headers }).end(request.method === 'HEAD' ? '' : body)
    if (request.method === 'OPTIONS') return send(204, {})
    this.asked.push({ method: request.method, hash, range, ifRange, authorization })
    const bytes = this.blobs.get(hash)
    const tag = { etag: `"${this.behaviour === 'other tag' ? 'f'.repeat(64) : hash}"`, 'content-type': 'application/octet-stream' }
    if (this.behaviour === 'broken') return send(500, {}, 'broken')
    if (this.behaviour === 'locked' && authorization !== 'Bearer good') return send(401, {}, 'who are you?')
    if (!bytes) return send(404, {}, 'none')
    if (this.behaviour === 'ends early') return send(200, tag, bytes.subarray(0, -1))
    if (this.behaviour === 'hangs') {
      response.writeHead(200, { ...tag, 'content-length': String(bytes.length) }).write(bytes.subarray(0, -1))
      this.left = new Promise(resolve => response.once('close', resolve))
      return
    }
    const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? []
    if (start === undefined || this.behaviour === 'no ranges') {
      const sent = this.behaviour === 'other size' ? Buffer.concat([bytes, bytes]) : bytes
      return send(200, { ...tag, 'content-length': String(sent.length) }, sent)
    }
    const part = bytes.subarray(Number(start), Number(end) + 1)
    const total = bytes.length + (this.behaviour === 'other size' ? 1 : 0)
    return send(206, { ...tag, 'content-range': `bytes ${start}-${end}/${total}`, 'content-length': String(part.length) }, part)
  }
}

async function bundle(options) {
  const { outputFiles } = await build({
    absWorkingDir: root, bundle: true, write: false, platform: 'browser', target: 'es2022', loader: { '.wasm': 'binary' }, ...options,
  })
  return outputFiles[0].text
}

function script(contents) {
  return { contents, resolveDir: `${root}/sw`, loader: 'ts' }
}

const SCRIPT = { 'content-type': 'text/javascript', 'cache-control': 'no-cache' }

/** The app's own service worker: its files and its shell. */
const SHELL = `
import { createFileHandler, createShellHandler } from './index.ts'
createFileHandler().install()
createShellHandler(self.SHELL).install()
`

/** What the tests call in the page, as \`page.…\`. */
const PAGE = `
import { registerFileServiceWorker } from './register.ts'

const heard = []
navigator.serviceWorker?.addEventListener('message', event => {
  heard.push(event.data)
  if (event.data.type === 'driftline:headers') {
    event.ports[0].postMessage({ headers: { authorization: event.data.refresh ? 'Bearer good' : 'Bearer stale' } })
  }
})

/** Does what the page's database and worker do: one record with its blob, as the architecture lays them out. */
async function seed({ database, files, meta, stored = true }) {
  const db = await new Promise((resolve, reject) => {
    const request = indexedDB.open('driftline:' + database, 1)
    request.onupgradeneeded = () => {
      for (const name of ['log', 'segments', 'meta', 'files', 'transfers']) request.result.createObjectStore(name)
    }
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  const transaction = db.transaction(['files', 'meta'], 'readwrite')
  for (const [key, value] of Object.entries(meta)) transaction.objectStore('meta').put(value, key)
  for (const { id, record } of files) {
    transaction.objectStore('files').put({ ...record, id, updatedAt: new Date(record.updatedAt) }, id)
  }
  await new Promise((resolve, reject) => {
    transaction.oncomplete = resolve
    transaction.onabort = () => reject(transaction.error)
  })
  db.close()
  if (!stored) return
  let blobs = await navigator.storage.getDirectory()
  for (const name of ['driftline', encodeURIComponent(database), 'blobs']) blobs = await blobs.getDirectoryHandle(name, { create: true })
  for (const { record, bytes } of files) {
    const folder = await blobs.getDirectoryHandle(record.contentHash.slice(0, 2), { create: true })
    const file = await (await folder.getFileHandle(record.contentHash, { create: true })).createWritable()
    await file.write(new Uint8Array(bytes))
    await file.close()
  }
}

async function ask({ url, method = 'GET', headers = {} }) {
  const response = await fetch(url, { method, headers, cache: 'no-store' })
  const answer = { status: response.status, headers: Object.fromEntries(response.headers) }
  try {
    return { ...answer, body: [...new Uint8Array(await response.arrayBuffer())] }
  } catch (error) {
    return { ...answer, broken: error.name }
  }
}

async function askAll(requests) {
  const answers = []
  for (const request of requests) answers.push(await ask(request))
  return answers
}

globalThis.page = { seed, ask, askAll, heard, register: registerFileServiceWorker }
`
