// The React app as a site: bundled by esbuild against the built package, served on loopback.
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('../../../..', import.meta.url))

export class Site {
  #server
  #folder

  static async start() {
    const site = new Site()
    site.#folder = await mkdtemp(join(tmpdir(), 'driftline-react-'))
    await build({
      entryPoints: { page: fileURLToPath(new URL('page.mjs', import.meta.url)) },
      outdir: site.#folder,
      bundle: true,
      format: 'esm',
      target: 'es2022',
      define: { 'process.env.NODE_ENV': '"development"' },
      logLevel: 'warning',
    })
    site.#server = createServer((request, response) => void site.#answer(new URL(request.url, 'http://localhost').pathname, response))
    site.#server.listen(0, '127.0.0.1')
    await once(site.#server, 'listening')
    site.url = `http://localhost:${site.#server.address().port}/`
    return site
  }

  /** What stands in the page before any script runs; tests set it. */
  markup = ''

  async stop() {
    this.#server.closeAllConnections()
    this.#server.close()
    await rm(this.#folder, { recursive: true, force: true })
  }

  async #answer(path, response) {
    if (path === '/') return response.writeHead(200, { 'content-type': 'text/html' }).end(`<!doctype html><title>React</title><div id="root">${this.markup}</div><script type="module" src="/page.js"></script>`)
    const file = {
      '/page.js': join(this.#folder, 'page.js'),
      '/worker.js': join(root, 'dist/worker.js'),
      '/wasm/client.wasm': join(root, 'dist/wasm/client.wasm'),
      '/wasm/worker.wasm': join(root, 'dist/wasm/worker.wasm'),
      '/driftline-sw.js': join(root, 'dist/sw.js'),
    }[path]
    // Browsers ask for an icon when they like; a 404 would stand in the console, which the tests read.
    if (path === '/favicon.ico') return response.writeHead(204).end()
    if (file === undefined) return response.writeHead(404).end()
    response.writeHead(200, { 'content-type': TYPES[extname(file)] }).end(await readFile(file))
  }
}

const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm' }
