// The example suite for driftline/testing passes under Vitest in Node.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('every test of examples/testing passes', async () => {
  const written = (await readFile(`${root}/examples/testing/todos.test.ts`, 'utf8')).match(/^test\(/gm).length
  const words = [`${root}/node_modules/vitest/vitest.mjs`, 'run', '--root', 'examples/testing', '--reporter', 'json']
  // Vitest is told by a variable of node's runner that it runs inside a test.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const { stdout } = await promisify(execFile)(process.execPath, words, { cwd: root, env }).catch(error => assert.fail(`${error.stdout}${error.stderr}`))
  const report = JSON.parse(stdout)
  assert.ok(written > 5)
  assert.deepEqual([report.numPassedTests, report.numTotalTests], [written, written])
})
