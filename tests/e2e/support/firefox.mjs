// Firefox by WebDriver BiDi: Playwright drives only a Firefox of its own. Tabs and profiles have the face of those in `tabs.mjs`, as
// far as the tests need it, so that one story runs in both browsers.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Bidi } from './bidi.mjs'

/** One browser profile. */
export class FirefoxProfile {
  engine = 'firefox'
  #bidi
  #child
  #tabs = new Map()
  #reports = new Map()
  #temporary

  /** Starts Firefox; on a new profile unless a folder is given. `preferences` are added to those that all tests have. */
  static async launch({ folder, preferences = {}, flags = [] } = {}) {
    const profile = new FirefoxProfile()
    profile.#temporary = folder === undefined
    profile.folder = folder ?? await mkdtemp(join(tmpdir(), 'driftline-firefox-'))
    await mkdir(profile.folder, { recursive: true })
    const lines = Object.entries({ ...PREFERENCES, ...preferences }).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`)
    await writeFile(join(profile.folder, 'user.js'), lines.join('\n'))
    const child = profile.#child = spawn(FIREFOX, ['-headless', '-no-remote', '-profile', profile.folder, '--remote-debugging-port', '0', ...flags, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'pipe'], detached: true, env: { ...process.env, MOZ_CRASHREPORTER_DISABLE: '1', HOME: profile.folder },
    })
    // A test run that fails leaves no browser behind.
    process.once('exit', profile.#killNow)
    let log = ''
    const endpoint = await new Promise((resolve, reject) => {
      child.once('error', cause => reject(new Error('Firefox can\'t be run: install firefox-esr, or name it in FIREFOX', { cause })))
      child.once('exit', code => reject(new Error(`Firefox stopped with ${code}:\n${log}`)))
      child.stderr.on('data', chunk => {
        if (log.length < LOG_MAX) log += chunk
        const [, found] = /WebDriver BiDi listening on (\S+)/.exec(log) ?? []
        if (found !== undefined) resolve(found)
      })
    })
    profile.#bidi = await Bidi.connect(endpoint, ['log.entryAdded', 'script.message'])
    profile.#bidi.on('log.entryAdded', ({ type, level, text, source }) => {
      if (type === 'javascript' && level === 'error') profile.#tabs.get(source.context)?.problems.push(`uncaught: ${text}`)
    })
    profile.#bidi.on('script.message', ({ channel, data }) => profile.#reports.get(channel)?.(data.value))
    return profile
  }

  /** Gives pages that are opened later a function of this name, which calls `call` here with a text. */
  async expose(name, call) {
    this.#reports.set(name, call)
    await this.#bidi.send('script.addPreloadScript', {
      functionDeclaration: `report => { globalThis[${JSON.stringify(name)}] = report }`,
      arguments: [{ type: 'channel', value: { channel: name } }],
    })
  }

  /** Opens an empty tab in front; what goes wrong in it unseen is kept in `problems`. */
  async newTab() {
    const { context } = await this.#bidi.send('browsingContext.create', { type: 'tab' })
    const tab = new FirefoxTab(this.#bidi, context)
    this.#tabs.set(context, tab)
    return tab
  }

  /** Opens a tab on a page with the library. */
  async tab(url, prepare = async () => {}) {
    const before = new Set(await this.#contentProcesses())
    const tab = await this.newTab()
    await prepare(tab)
    await tab.goto(url)
    await tab.waitForFunction(() => 'driftline' in globalThis)
    tab.process = (await this.#contentProcesses()).find(pid => !before.has(pid))
    return tab
  }

  /** Closes all tabs that were opened here. */
  async closeTabs() {
    for (const tab of this.#tabs.values()) await tab.close().catch(() => {})
    this.#tabs.clear()
  }

  /** Kills a tab's process; the profile must have been launched with `OWN_PROCESSES`. */
  async crash(tab) {
    process.kill(tab.process, 'SIGKILL')
    // Its parent buries it.
    while ((await this.#contentProcesses()).includes(tab.process)) await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }

  /** Stops a tab's process; the profile must have been launched with `OWN_PROCESSES`. */
  async freeze(tab) {
    process.kill(tab.process, 'SIGSTOP')
  }

  async thaw(tab) {
    process.kill(tab.process, 'SIGCONT')
  }

  /** Kills all processes of the browser, as a crash or a power cut does. */
  async kill() {
    const isRunning = this.#child.exitCode === null && this.#child.signalCode === null
    const ended = isRunning ? once(this.#child, 'exit') : undefined
    this.#killNow()
    await ended
    this.#end()
  }

  /** Ends it. An orderly end would take long, and is nobody's to wait for. */
  async close() {
    await this.kill()
    if (this.#temporary) await rm(this.folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }

  #killNow = () => {
    if (this.#child.exitCode === null && this.#child.signalCode === null) process.kill(-this.#child.pid, 'SIGKILL')
  }

  #end() {
    process.off('exit', this.#killNow)
    this.#bidi.disconnect()
  }

  /** The processes that pages run in, which are children of children of the first one. */
  async #contentProcesses() {
    const parents = new Map()
    for (const entry of await readdir('/proc')) {
      if (!/^\d+$/.test(entry)) continue
      const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '')
      // The name may hold blanks; what follows it does not.
      const [, state, parent] = /\) (\S) (\d+) /.exec(stat) ?? []
      if (state !== undefined && state !== 'Z') parents.set(Number(entry), Number(parent))
    }
    const isOurs = pid => pid === this.#child.pid || (parents.has(pid) && isOurs(parents.get(pid)))
    const ours = [...parents.keys()].filter(isOurs)
    const commands = await Promise.all(ours.map(pid => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')))
    return ours.filter((_, at) => commands[at].includes('-isForBrowser'))
  }
}

/** One tab. */
class FirefoxTab {
  problems = []
  #bidi
  #context
  #prepared = []

  constructor(bidi, context) {
    this.#bidi = bidi
    this.#context = context
  }

  async goto(url) {
    for (const body of this.#prepared) {
      await this.#bidi.send('script.addPreloadScript', { functionDeclaration: body, contexts: [this.#context] })
    }
    this.#prepared = []
    await this.#bidi.send('browsingContext.navigate', { context: this.#context, url, wait: 'complete' })
  }

  async reload() {
    await this.#bidi.send('browsingContext.reload', { context: this.#context, wait: 'complete' })
  }

  /** Runs a function in each page that the tab goes to from now on, before the page's own scripts. */
  async addInitScript(body) {
    this.#prepared.push(String(body))
  }

  async bringToFront() {
    await this.#bidi.send('browsingContext.activate', { context: this.#context })
  }

  /** Runs a function in the page, as a part of it, and gives what it resolves to; arguments and results are JSON. */
  async evaluate(body, argument) {
    const answer = await this.#bidi.send('script.callFunction', {
      functionDeclaration: `async text => JSON.stringify({ value: await (${body})(...JSON.parse(text)) })`,
      arguments: [{ type: 'string', value: JSON.stringify(argument === undefined ? [] : [argument]) }],
      target: { context: this.#context },
      awaitPromise: true,
    })
    if (answer.type === 'exception') throw new Error(answer.exceptionDetails.text)
    return JSON.parse(answer.result.value).value
  }

  /** Asks until the function's answer is truthy. */
  async waitForFunction(body, argument, { timeout = WAIT_MS } = {}) {
    const until = Date.now() + timeout
    for (;;) {
      const answer = await this.evaluate(body, argument)
      if (answer) return answer
      if (Date.now() > until) throw new Error(`not within ${timeout} ms: ${body}`)
      await new Promise(resolve => setTimeout(resolve, POLL_MS))
    }
  }

  async close() {
    await this.#bidi.send('browsingContext.close', { context: this.#context })
  }
}

/** One Firefox with one page, which is all that some tests need. */
export class Firefox {
  #profile
  #tab

  static async launch() {
    const firefox = new Firefox()
    firefox.#profile = await FirefoxProfile.launch()
    firefox.#tab = await firefox.#profile.newTab()
    return firefox
  }

  goto(url) { return this.#tab.goto(url) }
  evaluate(body, argument) { return this.#tab.evaluate(body, argument) }
  close() { return this.#profile.close() }
}

/** Preferences that give each tab a process of its own. */
export const OWN_PROCESSES = { 'dom.ipc.processPrelaunch.enabled': false, 'dom.ipc.processCount.webIsolated': 16, 'dom.ipc.keepProcessesAlive.webIsolated.max': 0 }
/** Preferences that let timers of hidden tabs run as those of visible ones. */
export const UNTHROTTLED = { 'dom.min_background_timeout_value': 4, 'dom.timeout.enable_budget_timer_throttling': false, 'dom.timeout.throttling_delay': -1 }

const FIREFOX = process.env['FIREFOX'] ?? '/usr/bin/firefox-esr'
const WAIT_MS = 30_000
const POLL_MS = 50
const LOG_MAX = 1_000_000
const PREFERENCES = {
  'app.normandy.enabled': false,
  'app.update.auto': false,
  'browser.aboutwelcome.enabled': false,
  'browser.contentblocking.category': 'standard',
  'browser.newtabpage.enabled': false,
  'browser.sessionstore.resume_from_crash': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.homepage_override.mstone': 'ignore',
  'browser.startup.page': 0,
  'browser.tabs.unloadOnLowMemory': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.getAddons.cache.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  // After some kills in a row Firefox would ask whether to start in safe mode.
  'toolkit.startup.max_resumed_crashes': -1,
  // A tab that hangs on purpose is none to ask about.
  'dom.max_script_run_time': 0,
  // Asking for persistent storage would wait for an answer that nobody gives.
  'dom.storageManager.prompt.testing': true,
  'dom.storageManager.prompt.testing.allow': true,
}
