// The published sync-cf server on workerd, on loopback, with storage that a restart keeps and `wipe` does not.
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { Miniflare } from 'miniflare'
import { freePort } from './ports.mjs'

const interop = fileURLToPath(new URL('..', import.meta.url))
const cache = fileURLToPath(new URL('../../../target/interop', import.meta.url))
/** The secret of 0.3's administrative requests. */
export const ADMIN_SECRET = 'interop-admin-secret'

/** A running server; `url` is its origin, by http. */
export class SyncCf {
  #miniflare

  /** Starts version `0.4` or `0.3`, on a free port; `token` is what a connection's payload must carry, if given. */
  static async start(version, { token = '' } = {}) {
    const server = new SyncCf()
    server.version = version
    server.token = token
    server.port = await freePort()
    server.url = `http://127.0.0.1:${server.port}`
    server.data = await mkdtemp(join(tmpdir(), 'driftline-sync-cf-'))
    await server.start()
    return server
  }

  /** Starts it again on the same port and storage. */
  async start() {
    this.#miniflare = new Miniflare({
      host: '127.0.0.1',
      port: this.port,
      cf: false,
      modules: true,
      script: await bundle(this.version),
      compatibilityDate: '2025-05-07',
      compatibilityFlags: ['nodejs_compat', 'enable_request_signal'],
      ...(this.version === '0.4'
        ? { durableObjects: { SYNC_BACKEND_DO: { className: 'SyncBackendDO', useSQLite: true } } }
        : { durableObjects: { WEBSOCKET_SERVER: 'WebSocketServer' }, d1Databases: ['DB'], d1Persist: join(this.data, 'd1') }),
      durableObjectsPersist: join(this.data, 'objects'),
      // The published worker prints every message that it gets.
      handleRuntimeStdio: (stdout, stderr) => { for (const stream of [stdout, stderr]) stream.resume() },
      bindings: { TOKEN: this.token, ADMIN_SECRET },
    })
    await this.#miniflare.ready
  }

  /** Ends it; connections drop. */
  async stop() {
    await this.#miniflare?.dispose()
    this.#miniflare = undefined
  }

  /** Starts it anew without anything that it had. */
  async wipe() {
    await this.stop()
    await rm(this.data, { recursive: true, force: true })
    await this.start()
  }

  /** Ends it for good. */
  async close() {
    await this.stop()
    await rm(this.data, { recursive: true, force: true })
  }
}

/** The worker and what it imports as one module, made once for each state of the lock file. */
async function bundle(version) {
  const folder = join(interop, `sync-cf-${version}`)
  const hash = createHash('sha256')
  for (const file of ['package-lock.json', 'worker.mjs']) hash.update(await readFile(join(folder, file)))
  const made = join(cache, `sync-cf-${version}-${hash.digest('hex').slice(0, 16)}.mjs`)
  if (!existsSync(made)) {
    await mkdir(cache, { recursive: true })
    const temporary = `${made}.${process.pid}`
    await build({
      entryPoints: [join(folder, 'worker.mjs')],
      outfile: temporary,
      bundle: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      conditions: ['workerd', 'worker', 'browser'],
      external: ['cloudflare:*', 'node:*'],
      logLevel: 'error',
    })
    await rename(temporary, made)
  }
  return readFile(made, 'utf8')
}
