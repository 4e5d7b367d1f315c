// Bare pages with the library in them, for tests that write their app inside the page: one browser profile, any number of tabs.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** A folder with the library as `driftline.js` and a page that has it as `driftline`, served on loopback. */
export class Pages {
  static async start() {
    const pages = new Pages()
    pages.folder = await mkdtemp(join(tmpdir(), 'driftline-pages-'))
    await build({
      absWorkingDir: root,
      entryPoints: { driftline: 'js/index.ts' },
      outdir: pages.folder,
      bundle: true,
      format: 'esm',
      target: 'es2022',
      logLevel: 'warning',
      plugins: [{
        name: 'own-imports',
        setup: ({ onResolve }) => onResolve({ filter: /^#wasm\// }, ({ path }) => ({ path: join(root, 'target/wasm-pack', path.slice('#wasm/'.length)) })),
      }],
    })
    await writeFile(join(pages.folder, 'index.html'), PAGE)
    pages.#server = createServer((request, response) => pages.#answer(request, response))
    pages.#server.listen(0, '127.0.0.1')
    await once(pages.#server, 'listening')
    pages.url = `http://localhost:${pages.#server.address().port}/`
    return pages
  }

  /**
   * What answers paths below `/api/`: `(path, body, headers) => { status, headers?, body? }`, or `undefined` for a connection that
   * breaks; tests set it.
   */
  api = () => ({ status: 404 })
  #server

  async stop() {
    this.#server.closeAllConnections()
    this.#server.close()
    await rm(this.folder, { recursive: true, force: true })
  }

  async #answer(request, response) {
    const { pathname } = new URL(request.url, this.url)
    if (pathname.startsWith('/api/')) {
      const chunks = await request.toArray()
      const answer = await this.api(pathname.slice('/api/'.length), Buffer.concat(chunks).toString(), request.headers)
      if (answer === undefined) return response.destroy()
      return response.writeHead(answer.status, answer.headers).end(answer.body)
    }
    const file = { '/': join(this.folder, 'index.html'), '/driftline.js': join(this.folder, 'driftline.js'), '/wasm/client.wasm': join(root, 'target/wasm-pack/client/client_bg.wasm') }[pathname]
    // Browsers ask for an icon when they like; a 404 would stand in the console, which the tests read.
    if (pathname === '/favicon.ico') return response.writeHead(204).end()
    if (file === undefined) return response.writeHead(404).end()
    response.writeHead(200, { 'content-type': TYPES[extname(file)] }).end(await readFile(file))
  }
}

/** One browser profile. */
export class Profile {
  engine = 'chromium'

  /** Starts a browser on a new profile; `settings` are what a person has set in it, as its file `Preferences` says it. */
  static async launch(settings = undefined) {
    const profile = new Profile()
    profile.folder = await mkdtemp(join(tmpdir(), 'driftline-profile-'))
    if (settings !== undefined) {
      await mkdir(join(profile.folder, 'Default'))
      await writeFile(join(profile.folder, 'Default', 'Preferences'), JSON.stringify(settings))
    }
    profile.context = await chromium.launchPersistentContext(profile.folder, { executablePath: CHROMIUM, args: ARGUMENTS })
    return profile
  }

  /** One that a test has made otherwise. */
  static of(context) {
    return Object.assign(new Profile(), { context })
  }

  /**
   * Starts a browser in which tabs behind the front one are hidden, as they are to people: their timers are slowed down, and they can
   * be frozen. Playwright's own browsers show every tab as visible. `waitForFunction` needs `{ polling }` in a hidden tab.
   * The profile is a new one unless a folder is given; `flags` are added to the command line.
   */
  static async launchHiding(folder = undefined, flags = []) {
    const profile = new Profile()
    profile.folder = folder ?? await mkdtemp(join(tmpdir(), 'driftline-profile-'))
    const args = ['--headless', ...ARGUMENTS, ...flags, '--remote-debugging-port=0', `--user-data-dir=${profile.folder}`, 'about:blank']
    profile.#child = spawn(CHROMIUM, args, { stdio: ['ignore', 'ignore', 'pipe'], detached: true })
    // A test run that fails leaves no browser behind.
    const end = () => process.kill(-profile.#child.pid, 'SIGKILL')
    process.once('exit', end)
    profile.#child.once('exit', () => process.off('exit', end))
    let log = ''
    const endpoint = await new Promise((resolve, reject) => {
      profile.#child.once('exit', code => reject(new Error(`Chromium stopped with ${code}:\n${log}`)))
      profile.#child.stderr.on('data', chunk => {
        log += chunk
        const [, found] = /DevTools listening on (\S+)/.exec(log) ?? []
        if (found !== undefined) resolve(found)
      })
    })
    profile.#browser = await chromium.connectOverCDP(endpoint, { noDefaults: true })
    profile.context = profile.#browser.contexts()[0]
    return profile
  }

  #browser
  #child
  #tabs = []

  /** Gives pages that are opened later a function of this name, which calls `call` here with a text. */
  async expose(name, call) {
    await this.context.exposeFunction(name, call)
  }

  /** Opens a tab on a page that has `name` when it is there; what goes wrong in it unseen is kept in `problems`. */
  async tab(url, prepare = async () => {}, name = 'driftline') {
    const page = await this.context.newPage()
    const problems = []
    page.on('pageerror', error => problems.push(`uncaught: ${error.message}`))
    page.setDefaultTimeout(60_000)
    await prepare(page)
    await page.goto(url)
    await page.waitForFunction(name => name in globalThis, name, { polling: 50 })
    this.#tabs.push(page)
    return Object.assign(page, { problems })
  }

  /** Closes the tabs that `tab` opened. */
  async closeTabs() {
    for (const tab of this.#tabs.splice(0)) await tab.close().catch(() => {})
  }

  /** Kills a tab's process. */
  async crash(tab) {
    const gone = new Promise(resolve => tab.once('crash', resolve))
    const session = await this.context.newCDPSession(tab)
    // It never answers: who should is gone.
    session.send('Page.crash').catch(() => {})
    await gone
  }

  /** Freezes a hidden tab of a browser that was started by `launchHiding`. */
  async freeze(tab) {
    if (await tab.evaluate(() => document.visibilityState) !== 'hidden') throw new Error('a tab that is seen can\'t be frozen')
    await tab.evaluate(() => {
      globalThis.lifecycle = []
      for (const name of ['freeze', 'resume']) document.addEventListener(name, () => { lifecycle.push(name) })
    })
    await this.#setLifecycle(tab, 'frozen')
  }

  async thaw(tab) {
    await this.#setLifecycle(tab, 'active')
    const seen = await tab.evaluate(() => lifecycle.join())
    if (seen !== 'freeze,resume') throw new Error(`the tab was not frozen: it saw ${seen}`)
  }

  async #setLifecycle(tab, state) {
    const session = await this.context.newCDPSession(tab)
    await session.send('Page.setWebLifecycleState', { state })
    await session.detach()
  }

  /** Kills all processes of a browser that was started by `launchHiding`, as a crash or a power cut does. */
  async kill() {
    const ended = once(this.#child, 'exit')
    process.kill(-this.#child.pid, 'SIGKILL')
    await ended
  }

  async close() {
    if (this.#child === undefined) await this.context.close()
    else {
      await this.#browser.close()
      const ended = this.#child.exitCode === null && this.#child.signalCode === null ? once(this.#child, 'exit') : undefined
      this.#child.kill()
      await ended
    }
    await rm(this.folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
}

export const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
export const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
const PAGE = '<!doctype html><title>driftline</title><script type="module">import * as driftline from "./driftline.js"; globalThis.driftline = driftline</script>'
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' }
