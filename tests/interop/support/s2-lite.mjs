// s2-lite, a server of S2's REST v1, with storage that a restart keeps and `wipe` does not. It listens on all of the
// machine's networks and can't be told otherwise, so it gets a port by chance, and runs no longer than its test.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './ports.mjs'

const program = process.env['S2_LITE']

/** A running server; `url` is its address, without `/v1`. */
export class S2Lite {
  #child
  #log = ''

  /** Starts one on a free port, or on the one given. */
  static async start(port = undefined) {
    if (program === undefined || !existsSync(program)) throw new Error('S2_LITE names no program: run `npm run test:interop`, which builds it')
    const server = new S2Lite()
    server.port = port ?? await freePort()
    server.url = `http://127.0.0.1:${server.port}`
    server.data = await mkdtemp(join(tmpdir(), 'driftline-s2-'))
    await server.start()
    return server
  }

  /** Starts it again on the same port and storage; resolves when it answers. */
  async start() {
    const child = spawn(program, ['--no-dashboard', '--port', String(this.port), '--local-root', this.data], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, RUST_LOG: 'warn' } })
    this.#child = child
    // A test run that fails leaves no server behind.
    const end = () => child.kill('SIGKILL')
    process.once('exit', end)
    child.once('exit', () => process.off('exit', end))
    for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => { this.#log += chunk })
    for (;;) {
      if (child.exitCode !== null) throw new Error(`s2-lite stopped with ${child.exitCode}:\n${this.#log}`)
      if (await fetch(`${this.url}/health`).then(response => response.ok, () => false)) return
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }

  /** Ends it at once, as a crash does: it waits for open reads to end otherwise. What it has answered is stored. */
  async stop() {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
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
    await rm(this.data, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }

  /** Asks something of a basin; gives the status and the body, parsed. */
  async ask(basin, method, path, body = undefined, headers = {}) {
    const response = await fetch(`${this.url}/v1${path}`, {
      method, headers: { 's2-basin': basin, 's2-format': 'raw', ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: response.status, body: await response.json() }
  }

  /** Makes a basin and a stream. */
  async make(basin, stream) {
    await this.ask(basin, 'PUT', `/basins/${basin}`, {})
    await this.ask(basin, 'PUT', `/streams/${encodeURIComponent(stream)}`, {})
  }

  /** The records of a stream, from the first that is left. */
  async records(basin, stream) {
    const records = []
    for (;;) {
      const from = records.length === 0 ? 0 : records.at(-1).seq_num + 1
      const { status, body } = await this.ask(basin, 'GET', `/streams/${encodeURIComponent(stream)}/records?seq_num=${from}`)
      if (status === 416) return records
      if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`)
      records.push(...body.records)
    }
  }

  /** The events of a stream, each with its place. */
  async events(basin, stream) {
    const records = await this.records(basin, stream)
    return records.filter(({ headers }) => headers === undefined).map(({ seq_num, body }) => ({ place: seq_num, ...JSON.parse(body) }))
  }

  /** Appends records behind the last, whatever it is. */
  async append(basin, stream, records, headers = {}) {
    const { status, body } = await this.ask(basin, 'POST', `/streams/${encodeURIComponent(stream)}/records`, { records }, headers)
    if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`)
    return body
  }

  /** Drops the records before a place; resolves once they are gone. */
  async trim(basin, stream, before) {
    const place = Buffer.alloc(8)
    place.writeBigUInt64BE(BigInt(before))
    const command = { headers: [['', Buffer.from('trim').toString('base64')]], body: place.toString('base64') }
    await this.append(basin, stream, [command], { 's2-format': 'base64' })
    while ((await this.records(basin, stream))[0].seq_num < before) await new Promise(resolve => setTimeout(resolve, 20))
  }
}
