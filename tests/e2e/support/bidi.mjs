// WebDriver BiDi: commands and events over one WebSocket. Firefox speaks it by itself, so no driver stands between.
import WebSocket from 'ws'

/** One session with a browser. */
export class Bidi {
  #socket
  #next = 0
  #answers = new Map()
  #listeners = new Map()

  /** Connects and starts the session; the browser has just begun to listen at `url`. */
  static async connect(url, events) {
    const bidi = new Bidi()
    const socket = bidi.#socket = new WebSocket(`${url}/session`, { maxPayload: 0 })
    await new Promise((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
    })
    socket.on('message', data => bidi.#heard(JSON.parse(data)))
    socket.on('error', () => {})
    socket.on('close', () => bidi.#ended())
    await bidi.send('session.new', { capabilities: {} })
    await bidi.send('session.subscribe', { events })
    return bidi
  }

  /** Sends a command and gives its result; rejects once the browser is gone. */
  send(method, params = {}) {
    return new Promise((resolve, reject) => {
      if (this.#socket.readyState !== WebSocket.OPEN) return reject(new Error(`${method}: the browser is gone`))
      const id = ++this.#next
      this.#answers.set(id, { method, resolve, reject })
      this.#socket.send(JSON.stringify({ id, method, params }))
    })
  }

  /** Calls back at each event of a name, until what is given is called. */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, listeners.add(listener))
    return () => listeners.delete(listener)
  }

  /** Leaves the browser alone. */
  disconnect() {
    this.#socket.terminate()
  }

  #heard({ id, type, method, params, result, error, message }) {
    if (type === 'event') {
      for (const listener of this.#listeners.get(method) ?? []) listener(params)
      return
    }
    const answer = this.#answers.get(id)
    this.#answers.delete(id)
    if (type === 'success') answer?.resolve(result)
    else answer?.reject(new Error(`${answer.method}: ${error}: ${message}`))
  }

  #ended() {
    for (const { method, reject } of this.#answers.values()) reject(new Error(`${method}: the browser is gone`))
    this.#answers.clear()
  }
}
