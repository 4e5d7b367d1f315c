// What the measures share: databases of their own, rows, raw IndexedDB, bytes, and checks.
import { httpRemote, openDriftline } from 'driftline'

/** Opens a database under a name that no other round has used. */
export async function freshDatabase(options = {}) {
  return openDriftline({ name: `bench-${crypto.randomUUID()}`, ...options })
}

/** A collection whose backend never answers: its writes stay pending, as they do offline. */
export function offlineCollection(db) {
  return db.collection({
    sync: { id: 'rows', setup: async () => ({ data: {} }) },
    mutationFn: { persist: () => new Promise(() => {}) },
  })
}

/** The same, with rows that sync has delivered. */
export function syncedCollection(db, synced) {
  return db.collection({
    sync: { id: 'rows', setup: async () => ({ data: synced }) },
    mutationFn: { persist: () => new Promise(() => {}) },
  })
}

/** The file store of a database, with nothing moving to or from a server. */
export function localFiles(db) {
  return db.files({ remote: httpRemote({ baseUrl: '/files' }), autoUpload: false, autoDownload: 'none' })
}

/** Rows as an app has them. */
export function rows(count) {
  return Array.from({ length: count }, (_, index) => ({ id: `row-${index}`, title: `Row number ${index}`, done: index % 3 === 0, order: index }))
}

/** Makes a call for each; gives the time of all and the p99 of one, in ms. */
export function stamped(given, call) {
  const calls = new Float64Array(given.length)
  const start = performance.now()
  let last = start
  for (let at = 0; at < given.length; at++) {
    call(given[at])
    const now = performance.now()
    calls[at] = now - last
    last = now
  }
  calls.sort()
  return { total: last - start, p99: calls[Math.floor(given.length * 0.99)] }
}

/** Lets everything that is due run, once. */
export function idle() {
  return new Promise(resolve => setTimeout(resolve, 0))
}

/** Runs `work` for each of `given`, so many at a time, in order. */
export async function concurrently(given, count, work) {
  let next = 0
  const lane = async () => { while (next < given.length) await work(given[next++]) }
  await Promise.all(Array.from({ length: count }, lane))
}

/** Opens a plain IndexedDB database with one store, `rows`. */
export function openRaw(name) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1)
    request.onupgradeneeded = () => request.result.createObjectStore('rows', { autoIncrement: true })
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

/** Puts values in one transaction, and waits until it has committed. */
export function putRaw(database, values) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction('rows', 'readwrite', { durability: 'relaxed' })
    const store = transaction.objectStore('rows')
    for (const value of values) store.put(value)
    transaction.oncomplete = resolve
    transaction.onabort = () => reject(transaction.error)
    transaction.commit()
  })
}

/** Reads all values of the store. */
export function getAllRaw(database) {
  return new Promise((resolve, reject) => {
    const request = database.transaction('rows').objectStore('rows').getAll()
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

/** Bytes that no run before has had, so that nothing is there already. */
export function freshBytes(count) {
  const bytes = new Uint8Array(count)
  for (let at = 0; at < count; at += MOST_RANDOM_BYTES) crypto.getRandomValues(bytes.subarray(at, Math.min(count, at + MOST_RANDOM_BYTES)))
  return bytes
}

/** Throws where a result is not what it must be. */
export function check(condition, what) {
  if (!condition) throw new Error(`wrong result: ${what}`)
}

/** The most that getRandomValues gives at once. */
const MOST_RANDOM_BYTES = 65_536
