// Firefox by geckodriver and plain WebDriver: Playwright drives only a Firefox of its own.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** One Firefox with one page. */
export class Firefox {
  #driver
  #session

  static async launch() {
    const firefox = new Firefox()
    const port = await freePort()
    firefox.#driver = spawn(process.env['GECKODRIVER'] ?? 'geckodriver', ['--port', String(port)], { stdio: ['ignore', 'pipe', 'ignore'] })
    await Promise.race([
      once(firefox.#driver.stdout, 'data'),
      once(firefox.#driver, 'error').then(([error]) => { throw new Error('geckodriver can\'t be run: install it, or name it in GECKODRIVER', { cause: error }) }),
    ])
    const base = `http://127.0.0.1:${port}/session`
    const options = { binary: process.env['FIREFOX'] ?? '/usr/bin/firefox-esr', args: ['-headless'] }
    try {
      const { sessionId } = await command('POST', base, {
        capabilities: { alwaysMatch: { 'moz:firefoxOptions': options, timeouts: { script: SCRIPT_TIMEOUT_MS } } },
      })
      firefox.#session = `${base}/${sessionId}`
    } catch (error) {
      firefox.#driver.kill()
      throw error
    }
    return firefox
  }

  async goto(url) {
    await command('POST', `${this.#session}/url`, { url })
  }

  /** Runs a function in the page and gives what it resolves to, as Playwright's `evaluate` does. */
  async evaluate(body, argument) {
    const script = `
      const done = arguments[arguments.length - 1]
      Promise.resolve(arguments[0]).then(${body}).then(value => done({ value }), error => done({ error: String(error) }))`
    const { value, error } = await command('POST', `${this.#session}/execute/async`, { script, args: [argument ?? null] })
    if (error) throw new Error(error)
    return value
  }

  async close() {
    if (this.#session) await command('DELETE', this.#session).catch(() => {})
    if (this.#driver.exitCode === null) {
      const ended = once(this.#driver, 'exit')
      this.#driver.kill()
      await ended
    }
  }
}

async function command(method, url, body) {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(url, { method, headers, body: body && JSON.stringify(body) })
  const { value } = await response.json()
  if (!response.ok) throw new Error(`WebDriver: ${value.error}: ${value.message}`)
  return value
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

const SCRIPT_TIMEOUT_MS = 120_000
