// Chromium with a profile of its own, which survives being killed: the same folder is opened again by the next launch.
import { readlinkSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

/** A person's browser: one profile folder, one page of the demo. */
export class Browser {
  #context

  /** Launches it on a folder; `look` may set the size of the page, the colour scheme and the scale. */
  static async launch(folder, look = {}) {
    const browser = new Browser()
    browser.folder = folder
    browser.look = look
    await browser.launch()
    return browser
  }

  /** Launches it again on the same profile. */
  async launch() {
    await mkdir(this.folder, { recursive: true })
    this.#context = await chromium.launchPersistentContext(this.folder, {
      executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
      args: ARGUMENTS,
      viewport: this.look.viewport ?? { width: 1200, height: 900 },
      colorScheme: this.look.colorScheme ?? 'light',
      deviceScaleFactor: this.look.scale ?? 1,
    })
    this.page = this.#context.pages()[0] ?? await this.#context.newPage()
    this.problems = []
    this.page.on('pageerror', error => this.problems.push(`uncaught: ${error.message}`))
    this.page.on('console', message => { if (/Content Security Policy|Uncaught/.test(message.text())) this.problems.push(message.text()) })
    this.page.setDefaultTimeout(WAIT_MS)
  }

  /** The browser's own offline switch. */
  async setOffline(offline) {
    await this.#context.setOffline(offline)
  }

  /** Ends the browser's main process as a crash would; its children end with it. */
  async kill() {
    const pid = Number(readlinkSync(join(this.folder, 'SingletonLock')).split('-').at(-1))
    const closed = new Promise(resolve => this.#context.once('close', resolve))
    process.kill(pid, 'SIGKILL')
    await closed
    for (;;) {
      try { process.kill(pid, 0) } catch { return }
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }

  /** Closes it in an orderly way. */
  async close() {
    await this.#context?.close().catch(() => {})
  }
}

/** How long a test waits for what must come, ms: far more than it takes, as the machine may be busy. */
export const WAIT_MS = 30_000

const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
