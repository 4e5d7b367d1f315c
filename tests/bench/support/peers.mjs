// The peers, from a lockfile of their own: nothing but the benchmarks needs them.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const bench = join(dirname(fileURLToPath(import.meta.url)), '..')

/** Installs them with `npm ci`, unless what the lockfile says is there already. */
export function installPeers() {
  const stamp = join(bench, 'node_modules/.installed')
  const wanted = createHash('sha256').update(readFileSync(join(bench, 'package-lock.json'))).digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  console.error('installing the peers: npm ci in tests/bench')
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: bench, stdio: 'inherit' })
  if (status !== 0) throw new Error('the peers could not be installed: npm ci failed in tests/bench. With a network, run it again')
  writeFileSync(stamp, wanted)
}
