// The smallest example, run as README.md shows it.
import assert from 'node:assert/strict'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { Browser } from './support/browser.mjs'
import { eventually } from './support/demo.mjs'
import { Server } from './support/server.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('the smallest example writes a todo and a file, and both reach the server', { timeout: 120_000 }, async test => {
  const folder = await mkdtemp(join(tmpdir(), 'driftline-minimal-'))
  const pages = join(folder, 'pages')
  await build({ entryPoints: [join(root, 'examples/minimal/main.ts')], outdir: pages, bundle: true, format: 'esm', target: 'es2022', logLevel: 'warning' })
  await cp(join(root, 'examples/minimal/index.html'), join(pages, 'index.html'))
  await cp(join(root, 'dist/sw.js'), join(pages, 'driftline-sw.js'))
  for (const name of ['worker.js', 'wasm']) await cp(join(root, 'dist', name), join(pages, name), { recursive: true })
  const server = await Server.start(join(folder, 'data'), [], pages)
  const browser = await Browser.launch(join(folder, 'profile'))
  test.after(async () => {
    await browser.close()
    await server.stop()
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  })

  await browser.page.goto(server.url)
  await browser.page.getByText('Hello from Driftline').waitFor()
  await eventually(async () => (await server.changes('minimal')).filter(({ data }) => data.todo).map(({ data }) => [data.op, data.todo.done]), [['create', false], ['update', true]], 'the log')
  await browser.page.waitForFunction(() => document.title === '1 todos, 0 waiting')
  assert.deepEqual(browser.problems, [])
})
