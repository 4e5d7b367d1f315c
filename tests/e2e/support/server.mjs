// The real driftline-server with a data folder of its own, and what the tests ask of it over plain HTTP.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** A server that can be stopped and started again on the same port and data, as an outage does it. */
export class Server {
  #child
  #log = ''

  /** Starts one on a free port; `flags` are added to the command line, `pages` stands in for the demo's folder. */
  static async start(data, flags = [], pages = undefined) {
    const server = new Server()
    server.port = await freePort()
    server.url = `http://localhost:${server.port}`
    server.data = data
    server.flags = flags
    server.pages = pages
    await server.start()
    return server
  }

  /** Starts it again; resolves when it answers. */
  async start() {
    const program = process.env['DRIFTLINE_SERVER'] ?? join(root, 'target/debug/driftline-server')
    const pages = this.pages ?? process.env['DRIFTLINE_DEMO'] ?? join(root, 'examples/demo/dist')
    for (const [path, how] of [[program, 'cargo build -p driftline-server'], [join(pages, 'index.html'), 'node examples/demo/build.mjs']]) {
      if (!existsSync(path)) throw new Error(`${path} is not built: run \`${how}\``)
    }
    const child = spawn(program, ['--listen', `127.0.0.1:${this.port}`, '--data', this.data, '--static', pages, ...this.flags], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => { this.#log += chunk })
    for (;;) {
      if (child.exitCode !== null) throw new Error(`driftline-server stopped with ${child.exitCode}:\n${this.#log}`)
      if (await fetch(`${this.url}/healthz`).then(response => response.ok, () => false)) return
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }

  /** Stops it as an operator does; resolves when it has ended. */
  async stop(signal = 'SIGTERM') {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }

  /** What it has printed, for a failing test. */
  get log() { return this.#log }

  /** All changes of a scope, oldest first, read page by page. */
  async changes(scope = 'demo') {
    const changes = []
    let cursor = 0
    for (;;) {
      const page = await this.post('/_sync/pull', { scope, cursor, limit: 500 })
      changes.push(...page.body.changes ?? [])
      cursor = page.body.changes?.at(-1)?.cursor ?? cursor
      if (!page.body.has_more) return changes
    }
  }

  /** The todos' part of the log, as short texts: `create one`, `update one done`. */
  async todoLog() {
    const changes = (await this.changes()).filter(change => change.data.todo !== undefined)
    return changes.map(({ data }) => `${data.op} ${data.todo.title ?? data.todo.id}${data.todo.done ? ' done' : ''}`)
  }

  /** Posts JSON, or a text as it is; gives status, headers and the body, parsed where it is JSON. */
  async post(path, body) {
    return answer(await fetch(this.url + path, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: typeof body === 'string' ? body : JSON.stringify(body),
    }))
  }

  /** Gets a path. */
  async get(path, init) {
    return answer(await fetch(this.url + path, init))
  }
}

async function answer(response) {
  const text = await response.text()
  let body = text
  // A HEAD has the type of its GET and no body.
  if (text !== '' && response.headers.get('content-type')?.startsWith('application/json')) body = JSON.parse(text)
  return { status: response.status, headers: response.headers, body }
}

async function freePort() {
  const probe = createServer()
  probe.listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  await once(probe, 'close')
  return port
}
