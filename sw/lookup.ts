// Reads a database's file records from IndexedDB. It never makes or upgrades a database: that is the page's to do.
import type { FileAddress } from './planner.ts'

/** What is known about the file that a URL names. */
export interface KnownFile {
  database: string
  id: string
  name: string
  type: string
  size: number
  /** SHA-256 in hex. */
  hash: string
  /** Seconds since 1970; NaN if the record does not say. */
  lastModified: number
  /** Where its bytes are once they have been uploaded; undefined before. */
  remote: RemoteFacts | undefined
}

/** What the page left in `meta` under `files`. */
export interface RemoteFacts {
  /** An absolute URL, or a path of this origin. */
  baseUrl: string
  /** Whether a page is to be asked for headers. */
  auth?: boolean
}

/** Looks a file up; undefined if there is no such database, no such file, or the user has signed out. */
export async function lookUp(address: FileAddress): Promise<KnownFile | undefined> {
  try {
    return await read(address)
  } catch {
    // The connection was lost or closed under us: a new one tells.
    connections.delete(address.database)
    return read(address)
  }
}

async function read(address: FileAddress): Promise<KnownFile | undefined> {
  const database = await connect(address.database)
  if (!database) return undefined
  const transaction = database.transaction(['files', 'meta'])
  const meta = transaction.objectStore('meta')
  const files = transaction.objectStore('files')
  const [signedOut, remote, found] = await Promise.all([
    result(meta.get('signedOut')),
    result(meta.get('files')),
    'id' in address ? byId(files, address.id) : byHash(files, address.hash),
  ])
  if (signedOut === true || !found) return undefined
  return readRecord(address.database, found.id, found.record, remote)
}

async function byId(files: IDBObjectStore, id: string): Promise<Found> {
  return { id, record: await result(files.get(id)) }
}

/** Goes through the records: hashes have no index, and their URLs are rare. */
function byHash(files: IDBObjectStore, hash: string): Promise<Found | undefined> {
  return new Promise((resolve, reject) => {
    const request = files.openCursor()
    request.onerror = () => reject(request.error)
    request.onsuccess = () => {
      const cursor = request.result
      if (!cursor) return resolve(undefined)
      const record = cursor.value as Partial<StoredRecord> | null
      if (record?.contentHash === hash && !record.deletedAt) return resolve({ id: String(cursor.key), record })
      cursor.continue()
    }
  })
}

/** Checks a record field by field: another version of the app may have written it. */
function readRecord(database: string, id: string, value: unknown, meta: unknown): KnownFile | undefined {
  const record = value as Partial<StoredRecord> | null | undefined
  if (!record || record.deletedAt) return undefined
  const { contentHash: hash, size } = record
  if (typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash)) return undefined
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) return undefined
  const facts = meta as Partial<RemoteFacts> | null | undefined
  const uploaded = typeof record.remoteKey === 'string' && record.remoteKey !== ''
  return {
    database,
    id,
    hash,
    size,
    name: text(record.name),
    type: text(record.type),
    lastModified: seconds(record.updatedAt),
    remote: uploaded && typeof facts?.baseUrl === 'string' ? { baseUrl: facts.baseUrl, auth: facts.auth === true } : undefined,
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function seconds(value: unknown): number {
  const time = value instanceof Date ? value.getTime() : typeof value === 'string' ? Date.parse(value) : Number(value ?? NaN)
  return Math.floor(time / 1000)
}

/** Opens a database as it is; undefined if it does not exist. The connection gives way to whoever wants to change it. */
function connect(name: string): Promise<IDBDatabase | undefined> {
  const known = connections.get(name)
  if (known) return known
  const opened = new Promise<IDBDatabase | undefined>((resolve, reject) => {
    const request = indexedDB.open(`driftline:${name}`)
    let missing = false
    request.onupgradeneeded = () => {
      missing = true
      request.transaction?.abort()
    }
    request.onsuccess = () => {
      const database = request.result
      const forget = () => {
        if (connections.get(name) === opened) connections.delete(name)
      }
      database.onversionchange = () => {
        forget()
        database.close()
      }
      database.onclose = forget
      // One that is not ours, or is not finished, has not the stores.
      if (STORES.every(store => database.objectStoreNames.contains(store))) return resolve(database)
      forget()
      database.close()
      resolve(undefined)
    }
    request.onerror = event => {
      event.preventDefault()
      connections.delete(name)
      if (missing) resolve(undefined)
      else reject(request.error)
    }
  })
  connections.set(name, opened)
  return opened
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

interface Found {
  id: string
  record: unknown
}

interface StoredRecord {
  name: string
  type: string
  size: number
  contentHash: string
  remoteKey: string
  updatedAt: Date | number | string
  deletedAt: unknown
}

const connections = new Map<string, Promise<IDBDatabase | undefined>>()
const STORES = ['files', 'meta']
