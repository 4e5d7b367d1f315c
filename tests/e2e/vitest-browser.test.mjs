// The example suite for driftline/testing passes in Vitest's browser mode too, on the memory store and on the real IndexedDB.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { CHROMIUM } from './support/tabs.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('every test of examples/testing passes in Chromium', { timeout: 300_000 }, async () => {
  const suites = await Promise.all(['todos.test.ts', 'stored.browser-test.ts'].map(name => readFile(`${root}/examples/testing/${name}`, 'utf8')))
  const written = suites.join('\n').match(/^test\(/gm).length
  assert.ok(written > 10)
  const folder = await mkdtemp(join(tmpdir(), 'driftline-vitest-'))
  try {
    const report = join(folder, 'report.json')
    const words = [`${root}/node_modules/vitest/vitest.mjs`, 'run', '--root', 'examples/testing', '--config', 'vitest.browser.config.mjs', '--reporter', 'json', '--outputFile', report]
    // Vitest is told by a variable of node's runner that it runs inside a test.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    await promisify(execFile)(process.execPath, words, { cwd: root, env: { ...env, CHROMIUM } }).catch(async error => {
      assert.fail(`${error.stdout}${error.stderr}${await readFile(report, 'utf8').catch(() => '')}`)
    })
    const { numPassedTests, numTotalTests } = JSON.parse(await readFile(report, 'utf8'))
    assert.deepEqual([numPassedTests, numTotalTests], [written, written])
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
