// 64 MiB through a service worker, until the page has all bytes: ours under /driftline-files/, and a hand-written one that answers with
// the same bytes as a File from OPFS.
import { registerFileServiceWorker } from 'driftline'
import { check, freshBytes, freshDatabase, localFiles } from './common.js'
import { digest } from './digest.js'

let served

/** One page can have one service worker, so each contender has a page of its own: it prepares its side, then takes samples. */
export const serve = { prepare: { driftline: prepareOurs, raw: prepareRaw }, driftline: take, raw: take }

async function prepareOurs() {
  const { controlled } = await registerFileServiceWorker()
  check(controlled && navigator.serviceWorker.controller !== null, 'the page is not controlled by our service worker')
  const files = await localFiles(await freshDatabase())
  const record = await files.saveFile(new Blob([freshBytes(SIZE)]), { name: 'bench.bin' })
  served = { url: files.fileUrl(record.id), hash: record.contentHash }
}

async function prepareRaw() {
  const controlled = new Promise(resolve => navigator.serviceWorker.addEventListener('controllerchange', resolve))
  await navigator.serviceWorker.register('/raw/sw.js')
  await controlled
  const bytes = freshBytes(SIZE)
  const handle = await (await navigator.storage.getDirectory()).getFileHandle('raw-served', { create: true })
  const writable = await handle.createWritable()
  await writable.write(bytes)
  await writable.close()
  served = { url: '/raw/file', hash: await digest(bytes) }
}

async function take() {
  const start = performance.now()
  const response = await fetch(served.url)
  const body = await response.arrayBuffer()
  const took = performance.now() - start
  check(response.status === 200, `the answer is ${response.status}`)
  check(await digest(body) === served.hash, 'other bytes came than were saved')
  return { serve: took }
}

const SIZE = 64 * 1024 * 1024
