// The conformance suites, compiled from Rust, run against a server: each check is a test of its own.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../..', import.meta.url))
const program = process.env['DRIFTLINE_INTEROP'] ?? join(root, 'target/debug/driftline-interop')
/** No check waits longer for a frame than a minute, and none waits for many. */
const CHECK_TIMEOUT_MS = 180_000

/** Makes a test of each check of `suite`, against what `server().url` leads to; gives how many there are. */
export async function conformance(suite, server) {
  if (!existsSync(program)) throw new Error(`${program} is not built: run \`cargo build -p driftline-interop\``)
  const { stdout } = await run(program, [suite])
  const checks = stdout.split('\n').filter(line => line !== '')
  assert.ok(checks.length > 0, `${suite} has checks`)
  for (const check of checks) {
    test(`${suite}: ${check.replaceAll('_', ' ')}`, async () => {
      try {
        await run(program, [suite, server().url, check], { timeout: CHECK_TIMEOUT_MS, env: { ...process.env, RUST_BACKTRACE: '0' } })
      } catch (error) {
        assert.fail(`${check}: ${error.stderr || error.message}`)
      }
    })
  }
  return checks.length
}
