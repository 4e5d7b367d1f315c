// Saving 64 MiB: until the blob stands under its hash and its record is durable. The floor writes the same bytes in a worker through a
// sync handle, hashes them with crypto.subtle, and moves the file to its hash.
import { check, freshBytes, freshDatabase, localFiles } from './common.js'
import { digest } from './digest.js'

let openFiles
let worker

/** Each saves a blob of its own, and must find its hash. */
export const save = {
  async driftline() {
    openFiles ??= await localFiles(await freshDatabase())
    const bytes = freshBytes(SIZE)
    const blob = new Blob([bytes])
    const start = performance.now()
    const record = await openFiles.saveFile(blob, { name: 'bench.bin' })
    const took = performance.now() - start
    check(record.contentHash === await digest(bytes), 'the hash is another one')
    check((await openFiles.readFile(record.id)).size === SIZE, 'bytes are missing')
    await openFiles.deleteFile(record.id)
    return { save: took }
  },
  async raw() {
    worker ??= new Worker('/raw-save-worker.js', { type: 'module' })
    const bytes = freshBytes(SIZE)
    const blob = new Blob([bytes])
    const start = performance.now()
    const hash = await ask(worker, { save: blob })
    const took = performance.now() - start
    check(hash === await digest(bytes), 'the hash is another one')
    await ask(worker, { remove: hash })
    return { save: took }
  },
}

function ask(asked, message) {
  return new Promise((resolve, reject) => {
    asked.onmessage = ({ data }) => ('error' in data ? reject(new Error(data.error)) : resolve(data.answer))
    asked.onerror = event => reject(new Error(event.message))
    asked.postMessage(message)
  })
}

const SIZE = 64 * 1024 * 1024
