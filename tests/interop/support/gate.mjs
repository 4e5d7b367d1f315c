// Something in front of a server that tests have in their hands: it passes requests on, refuses them, or loses their answers.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** A gate at a port of its own; `url` is its address. */
export class Gate {
  #server
  #open = new Set()
  /** What was asked, in order: `{ method, path, headers, body }`. */
  asked = []

  /**
   * Opens one in front of what `answer` makes of requests (a `Request` in, a `Response` out), or of the server at an address.
   */
  static async start(answer) {
    const gate = new Gate()
    gate.answer = typeof answer === 'string' ? passedTo(answer) : answer
    gate.#server = createServer((request, response) => {
      gate.#handle(request, response).catch(error => response.destroy(error))
    })
    gate.#server.listen(0, '127.0.0.1')
    await once(gate.#server, 'listening')
    gate.port = gate.#server.address().port
    gate.url = `http://127.0.0.1:${gate.port}`
    return gate
  }

  /**
   * What becomes of a request: `pass`; `lose`, its answer breaks off behind its head after it was acted upon; `drop`, it never
   * arrives; or `{ status, body }`, its answer. Tests set it; it is called with what is in `asked`.
   */
  rule = () => 'pass'

  /** Breaks every connection there is, and takes no other. */
  async shut() {
    this.rule = () => 'drop'
    this.breakAll()
  }

  /** Breaks the answers that are under way. */
  breakAll() {
    for (const response of this.#open) response.destroy()
  }

  /** Holds back what answers under way bring from now on, without breaking them, as a network does that is gone. */
  silence() {
    for (const response of this.#open) response.silent = true
  }

  async close() {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #handle(incoming, response) {
    const body = Buffer.concat(await incoming.toArray())
    const asked = { method: incoming.method, path: incoming.url, headers: incoming.headers, body: body.toString() }
    const cors = {
      'access-control-allow-origin': '*', 'access-control-allow-headers': 'authorization, content-type, s2-basin, s2-format, last-event-id',
      'access-control-allow-methods': 'GET, HEAD, POST, PUT',
    }
    if (incoming.method === 'OPTIONS') {
      response.writeHead(204, cors).end()
      return
    }
    this.asked.push(asked)
    const rule = this.rule(asked)
    if (rule === 'drop') {
      response.destroy()
      return
    }
    if (typeof rule === 'object') {
      response.writeHead(rule.status, { ...cors, 'content-type': 'application/json' }).end(rule.body)
      return
    }
    const gone = new AbortController()
    response.once('close', () => { gone.abort() })
    const answer = await this.answer(new Request(new URL(incoming.url, this.url), {
      method: incoming.method, headers: incoming.headers, signal: gone.signal,
      ...(body.length === 0 ? {} : { body }),
    }))
    if (rule === 'lose') {
      await answer.arrayBuffer()
      // Without a head, a browser would send by itself again what it had sent over a connection that was used before.
      response.writeHead(answer.status, { ...cors, 'content-length': 100 })
      response.flushHeaders()
      response.destroy()
      return
    }
    response.writeHead(answer.status, { ...cors, 'content-type': answer.headers.get('content-type') ?? 'text/plain' })
    response.flushHeaders()
    if (answer.body === null) {
      response.end()
      return
    }
    this.#open.add(response)
    response.once('close', () => { this.#open.delete(response) })
    const heard = Readable.fromWeb(answer.body).filter(() => response.silent !== true)
    // Whoever asked may be gone, or what was asked: the other end sees it by the connection.
    await pipeline(heard, response).catch(() => response.destroy())
  }
}

/** Passes a request on as it is. */
function passedTo(url) {
  return async request => {
    const { pathname, search } = new URL(request.url)
    const headers = Object.fromEntries([...request.headers].filter(([name]) => !['connection', 'content-length', 'host', 'transfer-encoding'].includes(name)))
    const body = ['GET', 'HEAD'].includes(request.method) ? undefined : await request.text()
    return fetch(url + pathname + search, { method: request.method, headers, body, signal: request.signal })
  }
}
