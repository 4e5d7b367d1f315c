// Makes README.md's picture of the demo, from the real page and the real server. Run it after `npm run build` and `node examples/demo/build.mjs`:
//   node examples/demo/screenshot.mjs [FILE]
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Browser } from '../../tests/e2e/support/browser.mjs'
import { addTodo, durable, hasState, opened, sent, tick } from '../../tests/e2e/support/demo.mjs'
import { writePicture } from '../../tests/e2e/support/media.mjs'
import { Server } from '../../tests/e2e/support/server.mjs'

const out = process.argv[2] ?? join(dirname(fileURLToPath(import.meta.url)), 'screenshot.png')
const folder = await mkdtemp(join(tmpdir(), 'driftline-screenshot-'))
const server = await Server.start(join(folder, 'data'))
const browser = await Browser.launch(join(folder, 'profile'), { viewport: { width: 1200, height: 640 } })
try {
  const { page } = browser
  await page.goto(server.url)
  await opened(page)
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null)
  for (const title of ['Buy milk', 'Call home', 'Water the plants']) await addTodo(page, title)
  await add(page, 'evening.png', { tint: 40 })
  await writeFile(join(folder, 'timetable.pdf'), '%PDF-1.4\n%%EOF\n')
  await page.getByTestId('photo-input').setInputFiles(join(folder, 'timetable.pdf'))
  await page.locator('[data-testid="photo"][data-upload="done"]').nth(1).waitFor()
  await sent(page)
  await server.stop()
  await hasState(page, 'offline')
  await tick(page, 'Buy milk')
  await addTodo(page, 'Post the letter')
  await add(page, 'shore.png', {})
  await page.getByTestId('photo').nth(2).waitFor()
  await durable(page)
  await page.waitForFunction(() => [...document.querySelectorAll('.album img')].filter(picture => picture.naturalWidth > 0).length === 2)
  await page.evaluate(() => document.activeElement?.blur())
  await page.screenshot({ path: out })
} finally {
  await browser.close()
  await server.stop()
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
}

async function add(page, name, look) {
  await writePicture(join(folder, name), { width: 480, height: 360, grain: 0, ...look })
  await page.getByTestId('photo-input').setInputFiles(join(folder, name))
}
