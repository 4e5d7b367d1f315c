// The smallest React example, run as it stands against the real server.
import assert from 'node:assert/strict'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { Browser } from './support/browser.mjs'
import { eventually } from './support/demo.mjs'
import { writePicture } from './support/media.mjs'
import { Server } from './support/server.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('the React example writes a todo with a photo, and both reach the server and a second browser', { timeout: 120_000 }, async test => {
  const folder = await mkdtemp(join(tmpdir(), 'driftline-react-example-'))
  const pages = join(folder, 'pages')
  await build({ entryPoints: [join(root, 'examples/react-minimal/main.tsx')], outdir: pages, bundle: true, format: 'esm', target: 'es2022', jsx: 'automatic', define: { 'process.env.NODE_ENV': '"production"' }, logLevel: 'warning' })
  await cp(join(root, 'examples/react-minimal/index.html'), join(pages, 'index.html'))
  await cp(join(root, 'dist/sw.js'), join(pages, 'driftline-sw.js'))
  for (const name of ['worker.js', 'wasm']) await cp(join(root, 'dist', name), join(pages, name), { recursive: true })
  await writePicture(join(folder, 'shore.png'))
  const server = await Server.start(join(folder, 'data'), [], pages)
  const browsers = []
  test.after(async () => {
    for (const browser of browsers) await browser.close()
    await server.stop()
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  })
  const visit = async name => {
    const browser = await Browser.launch(join(folder, name))
    browsers.push(browser)
    await browser.page.goto(server.url)
    return browser
  }

  const one = await visit('one')
  await one.page.getByLabel('What is to be done').fill('Buy milk')
  await one.page.getByText('Add').click()
  await one.page.getByRole('checkbox').check()
  await one.page.getByLabel('Photo').setInputFiles(join(folder, 'shore.png'))
  await seesPhoto(one.page)
  await eventually(async () => (await server.changes('react-minimal')).filter(({ data }) => data.todo).map(({ data }) => [data.op, data.todo.title, data.todo.done]).at(0), ['create', 'Buy milk', false], 'the log')
  await one.page.getByText('0 waiting to be sent').waitFor()

  const two = await visit('two')
  await two.page.getByText('Buy milk').waitFor()
  assert.equal(await two.page.getByRole('checkbox').isChecked(), true)
  await seesPhoto(two.page)
  await two.page.getByText('Delete').click()
  await one.page.getByText('Buy milk').waitFor({ state: 'detached' })
  for (const { problems } of browsers) assert.deepEqual(problems, [])
})

/** Waits until the picture was decoded. */
async function seesPhoto(page) {
  await page.waitForFunction(() => {
    const image = document.querySelector('figure img')
    return image !== null && image.complete && image.naturalWidth > 0
  })
}
