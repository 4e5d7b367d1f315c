// Our own server, with a log of rows on each of its wires, for what pulls from it and pushes to it.
import { spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const project = join(dirname(fileURLToPath(import.meta.url)), '../../..')

/** Starts the server, as it ships, for the pages of `origin`; gives its address and what stops it. */
export async function startSyncServer(origin) {
  const program = process.env['DRIFTLINE_SERVER'] ?? built()
  const data = await mkdtemp(join(tmpdir(), 'driftline-bench-server-'))
  const child = spawn(program, ['--data', data, '--listen', '127.0.0.1:0', '--allow-origin', origin], { stdio: ['ignore', 'pipe', 'inherit'] })
  const url = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', line => {
      const found = /http:\/\/\S+/.exec(line)
      if (found !== null) resolve(found[0].replace(/\/$/, ''))
    })
    child.once('exit', code => reject(new Error(`the server ended with ${code}`)))
  })
  return {
    url,
    stop: async () => {
      const gone = new Promise(resolve => { child.once('exit', resolve) })
      child.kill()
      await gone
      await rm(data, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/** Fills one scope, and one store, each named after how many rows it has. */
export async function seed(url, counts) {
  for (const count of counts) {
    for (let from = 0; from < count; from += BATCH) {
      const rows = Array.from({ length: Math.min(BATCH, count - from) }, (_, index) => rowOf(from + index))
      const mutations = rows.map(row => ({ id: `seed-${row.id}`, scope: `rows-${count}`, name: 'row.create', args: row }))
      const { results } = await post(`${url}/_sync/push`, { mutations })
      if (!results.every(result => result.ok)) throw new Error(`the server refused a row: ${JSON.stringify(results.find(result => !result.ok))}`)
      const batch = rows.map((row, index) => ({ name: 'row.inserted', args: row, seqNum: from + index + 1, parentSeqNum: from + index, clientId: 'seed', sessionId: 'seed' }))
      const payload = { storeId: `rows-${count}`, batch, backendId: { _tag: 'None' } }
      const answer = await post(`${url}/livestore?storeId=rows-${count}&transport=http`, { _tag: 'Request', id: '0', tag: 'SyncHttpRpc.Push', payload, headers: [] })
      if (answer.at(-1).exit?._tag !== 'Success') throw new Error(`the server refused an event: ${JSON.stringify(answer)}`)
    }
  }
}

/** As `rows` of the page's `common.js` makes them. */
function rowOf(index) {
  return { id: `row-${index}`, title: `Row number ${index}`, done: index % 3 === 0, order: index }
}

async function post(url, body) {
  const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
  if (!response.ok) throw new Error(`${url} answered ${response.status} ${await response.text()}`)
  return response.json()
}

function built() {
  const { status } = spawnSync('cargo', ['build', '--quiet', '--release', '-p', 'driftline-server'], { cwd: project, stdio: 'inherit' })
  if (status !== 0) throw new Error('the server could not be built: cargo build --release -p driftline-server failed')
  return join(project, 'target/release/driftline-server')
}

const BATCH = 100
