// Saving 64 MiB: until the blob stands under its hash and its record is durable. The floor writes the same bytes in a worker through a
// sync handle, hashes them with crypto.subtle, and moves the file to its hash.
import { check, freshBytes, freshDatabase, inTurn, localFiles } from './common.js'

let prepared

/** One round; ours goes first or last. Both save the same blob, and must find the same hash. */
export async function save(oursFirst) {
  prepared ??= await prepare()
  const { files, worker } = prepared
  const blob = new Blob([freshBytes(SIZE)])
  const hashes = {}
  const times = await inTurn(oursFirst, async () => {
    const start = performance.now()
    const record = await files.saveFile(blob, { name: 'bench.bin' })
    const took = performance.now() - start
    hashes.ours = record.contentHash
    const back = await files.readFile(record.id)
    check(back.size === SIZE, `${back.size} bytes were kept`)
    await files.deleteFile(record.id)
    return took
  }, async () => {
    const start = performance.now()
    hashes.floor = await ask(worker, { save: blob })
    const took = performance.now() - start
    await ask(worker, { remove: hashes.floor })
    return took
  })
  check(hashes.ours === hashes.floor, `the hashes differ: ${hashes.ours}, ${hashes.floor}`)
  return [{ line: 'save', ...times }]
}

async function prepare() {
  const db = await freshDatabase()
  const worker = new Worker('/raw-save-worker.js', { type: 'module' })
  return { files: await localFiles(db), worker }
}

function ask(worker, message) {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => ('error' in data ? reject(new Error(data.error)) : resolve(data.answer))
    worker.onerror = event => reject(new Error(event.message))
    worker.postMessage(message)
  })
}

const SIZE = 64 * 1024 * 1024
