// What stands between a page and a server: it counts what is asked, and breaks it in the ways in which networks and servers do.
import { once } from 'node:events'
import { createServer, request as ask } from 'node:http'
import WebSocket, { WebSocketServer } from 'ws'

/** A proxy on loopback before the server at `target`, whose address may change. */
export class Proxy {
  /**
   * What is done with a request, which has `method`, `path` and `body`: `pass`; `lose` (it arrives, and its answer does not); `hang`;
   * `break` (it does not arrive); or an answer in the server's place, `{ status, body }`.
   */
  onRequest = () => 'pass'
  /** What is done with a WebSocket that is opened at `path`: `pass`, `hang`, `refuse`, or a code by which it is closed at once. */
  onSocket = () => 'pass'
  /** Whether a text over a WebSocket goes on, or a text that is sent back in the other side's place; `from` is `page` or `server`. */
  onFrame = () => true
  /** What was asked: `POST /_sync/pull`, `WS /livestore`. Queries are left out. */
  seen = []
  #server
  #sockets = new Set()

  static async start(target) {
    const proxy = new Proxy()
    proxy.target = target
    proxy.#server = createServer((request, response) => proxy.#request(request, response))
    const accepting = new WebSocketServer({ noServer: true, maxPayload: 0 })
    proxy.#server.on('upgrade', (request, socket, head) => proxy.#upgrade(accepting, request, socket, head))
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    proxy.url = `http://localhost:${proxy.#server.address().port}`
    return proxy
  }

  /** How often something was asked that begins so. */
  count(what) { return this.seen.filter(asked => asked.startsWith(what)).length }

  /** Closes all WebSockets with this code. */
  closeSockets(code) {
    for (const socket of this.#sockets) socket.close(code, 'closed by the test')
  }

  stop() {
    for (const socket of this.#sockets) socket.terminate()
    this.#server.closeAllConnections()
    this.#server.close()
  }

  async #request(request, response) {
    const body = Buffer.concat(await request.toArray())
    const path = request.url.split('?')[0]
    if (request.method !== 'OPTIONS') this.seen.push(`${request.method} ${path}`)
    const fate = request.method === 'OPTIONS' ? 'pass' : this.onRequest({ method: request.method, path, body: body.toString() })
    if (fate === 'hang') return
    if (fate === 'break') return response.destroy()
    if (typeof fate === 'object') {
      return response.writeHead(fate.status, { 'access-control-allow-origin': '*', 'content-type': 'application/json' }).end(fate.body)
    }
    const { host: _, ...headers } = request.headers
    const asked = ask(new URL(request.url, this.target), { method: request.method, headers: { ...headers, host: new URL(this.target).host } })
    asked.on('error', () => response.destroy())
    response.on('close', () => asked.destroy())
    asked.on('response', answer => {
      if (fate === 'lose') {
        answer.resume()
        return answer.on('end', () => response.destroy())
      }
      response.writeHead(answer.statusCode, answer.headers)
      answer.pipe(response)
      answer.on('error', () => response.destroy())
    })
    asked.end(body)
  }

  #upgrade(accepting, request, socket, head) {
    const path = request.url.split('?')[0]
    this.seen.push(`WS ${path}`)
    const fate = this.onSocket({ path, url: request.url })
    if (fate === 'hang') return socket.on('error', () => {})
    if (fate === 'refuse') return socket.end('HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
    if (typeof fate === 'number') {
      return accepting.handleUpgrade(request, socket, head, page => {
        page.on('error', () => {})
        page.close(fate, 'closed by the test')
      })
    }
    const { origin } = request.headers
    const server = new WebSocket(new URL(request.url, this.target.replace(/^http/, 'ws')), { maxPayload: 0, perMessageDeflate: false, ...(origin === undefined ? {} : { origin }) })
    server.on('error', () => socket.destroy())
    server.on('unexpected-response', (_, answer) => {
      socket.end(`HTTP/1.1 ${answer.statusCode} refused\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
      server.terminate()
    })
    server.once('open', () => accepting.handleUpgrade(request, socket, head, page => {
      this.#sockets.add(page)
      const pass = (name, from, to) => (data, isBinary) => {
        const fate = this.onFrame(name, data.toString())
        if (typeof fate === 'string') from.send(fate)
        else if (fate && to.readyState === WebSocket.OPEN) to.send(data, { binary: isBinary })
      }
      page.on('message', pass('page', page, server))
      server.on('message', pass('server', server, page))
      page.on('error', () => {})
      page.on('close', () => {
        this.#sockets.delete(page)
        server.close()
      })
      server.on('close', () => page.close())
    }))
  }
}
