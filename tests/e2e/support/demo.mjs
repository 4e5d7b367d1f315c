// What a person does with the demo's page, and what they see there.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Browser, WAIT_MS } from './browser.mjs'
import { Server } from './server.mjs'

/** A server and its browsers for one test; all is stopped and removed after it, and the pages are shown where it failed. */
export async function world(test, flags = []) {
  const folder = await mkdtemp(join(tmpdir(), 'driftline-e2e-'))
  const server = await Server.start(join(folder, 'data'), flags)
  const browsers = []
  test.after(async () => {
    if (test.passed === false) console.error(server.log)
    for (const browser of browsers) await browser.close()
    await server.stop()
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  })
  return {
    folder,
    server,
    /** Launches a browser and opens the page in it; resolves when the service worker controls the page and has the shell. */
    async visitor(name, look) {
      const browser = await Browser.launch(join(folder, name), look)
      browsers.push(browser)
      await browser.page.goto(server.url)
      await opened(browser.page)
      await browser.page.waitForFunction(() => navigator.serviceWorker.controller !== null)
      return browser
    },
  }
}

/** Waits until the page's parts are there. */
export async function opened(page) {
  await page.waitForFunction(() => globalThis.driftlineDemo !== undefined)
}

/** Types a title and presses the button. */
export async function addTodo(page, title) {
  await page.getByTestId('new-todo').fill(title)
  await page.getByTestId('add-todo').click()
}

/** Presses the button and gives what the list shows before the next frame is painted. */
export async function addTodoAndLook(page, title) {
  await page.getByTestId('new-todo').fill(title)
  return page.evaluate(() => {
    document.querySelector('[data-testid="add-todo"]').click()
    return new Promise(resolve => requestAnimationFrame(() => resolve([...document.querySelectorAll('[data-testid="todo"] .title')].map(title => title.textContent))))
  })
}

/** Ticks the todo with that title. */
export async function tick(page, title) {
  await todo(page, title).getByTestId('todo-toggle').click()
}

/** The row with that title. */
export function todo(page, title) {
  return page.getByTestId('todo').filter({ hasText: title })
}

/** The list as it is shown: titles in order, `[x]` before those that are ticked. */
export async function todos(page) {
  return page.evaluate(() => [...document.querySelectorAll('[data-testid="todo"]')].map(item => {
    const title = item.querySelector('.title').textContent
    return item.querySelector('[data-testid="todo-toggle"]').checked ? `[x] ${title}` : title
  }))
}

/** Waits until the list is as given. */
export async function seesTodos(page, expected) {
  await eventually(() => todos(page), expected, 'the list')
}

/** Waits until every write so far is durable: from here on a crash may come. */
export async function durable(page) {
  await page.evaluate(() => Promise.all(globalThis.driftlineDemo.db.transactions.list().map(transaction => transaction.durable)))
}

/** Waits until nothing waits to be sent. */
export async function sent(page) {
  await page.locator('[data-testid="status"][data-pending="0"]').waitFor()
}

/** Waits until the status line shows that state of the connection. */
export async function hasState(page, state) {
  await page.locator(`[data-testid="status"][data-state="${state}"]`).waitFor()
}

/** The status line's words. */
export async function statusText(page) {
  return (await page.getByTestId('status').innerText()).replace(/\s+/g, ' ')
}

/** Asks until the answer is as expected; after the time is over it fails with the difference. */
export async function eventually(ask, expected, what) {
  const until = Date.now() + WAIT_MS
  for (;;) {
    const got = await ask()
    try {
      assert.deepEqual(got, expected, what)
      return
    } catch (error) {
      if (Date.now() > until) throw error
    }
    await new Promise(resolve => setTimeout(resolve, 25))
  }
}

/** Asks until the answer is true. */
export async function until(ask, what) {
  const until = Date.now() + WAIT_MS
  while (!await ask()) {
    if (Date.now() > until) throw new Error(`not within ${WAIT_MS} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 25))
  }
}
