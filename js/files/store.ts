// The file store: records in a collection, bytes in the worker's blob store.
import { DriftlineError, type ErrorCode } from '../errors.ts'
import { Computed, guarded, type Readable } from '../readable.ts'
import type { Change } from '../types.ts'
import type { Transaction } from '../transaction.ts'
import { WorkerLink } from './link.ts'
import type { FileData, FileRecord, FilesConfig, FilesStatus, FilesUsage, LocalFileState, SaveOptions, TransferProgress } from './types.ts'
import type { RecordFacts, WireState, WireStatus, WorkerCommand, WorkerEvent } from './wire.ts'
import { answerServiceWorker } from './service-worker.ts'

/** What the store needs of the collection that holds its records. */
export interface FileRecords {
  readonly ready: Promise<void>
  get(key: string): Readonly<FileRecord> | undefined
  values(): IterableIterator<Readonly<FileRecord>>
  insert(row: FileRecord): Transaction
  update(key: string, change: (draft: FileRecord) => void): Transaction
  subscribe(listener: (changes: Change<FileRecord>[]) => void): () => void
}

export interface FileStoreParts {
  database: string
  collection: FileRecords
  config: FilesConfig
}

/** Opens a database's file store. */
export async function openFiles(parts: FileStoreParts): Promise<FileStore> {
  const store = new FileStore(parts)
  await store.opened
  return store
}

/** Files: saved on this device first, uploaded when that can be, served by the service worker. */
export class FileStore {
  readonly status: Readable<FilesStatus>
  /** @internal */
  readonly opened: Promise<void>

  readonly #database: string
  readonly #records: FileRecords
  readonly #config: FilesConfig
  readonly #link: WorkerLink
  readonly #status: Computed<FilesStatus>
  readonly #states = new Map<string, LocalFileState>()
  readonly #listeners = new Map<(id: string, state: LocalFileState) => void, string | undefined>()
  readonly #progressListeners = new Set<(progress: TransferProgress) => void>()
  readonly #idleWaiters = new Set<() => void>()
  readonly #evictions = new Map<number, (evicted: boolean) => void>()
  readonly #endings: (() => void)[] = []
  #told: Set<string> = new Set()
  #wire: WireStatus = { uploading: 0, downloading: 0, queued: 0, loaded: 0, total: 0, idle: false }
  #savesUnderWay = 0
  #askedToPersist = false
  #closed = false

  /** @internal */
  constructor({ database, collection, config }: FileStoreParts) {
    this.#database = database
    this.#records = collection
    this.#config = config
    this.#status = new Computed(() => {
      const { idle, ...status } = this.#wire
      return status
    })
    this.status = this.#status
    const { headers } = config.remote
    this.#link = new WorkerLink((config.worker ?? ownWorker)(), {
      event: event => this.#heard(event),
      headers: async (method, url) => [...new Headers(await headers?.({ method, url }))],
    })
    this.opened = this.#open()
    this.opened.catch(() => this.#link.end(closedError('the file store')))
  }

  /** Saves a file. Resolves when its bytes are published under their SHA-256 and its record is durable. */
  async saveFile(data: FileData, options: SaveOptions = {}): Promise<FileRecord> {
    this.#checkOpen('saveFile')
    const given = data instanceof Blob ? data : undefined
    const [contentHash, size] = await this.#save(data)
    const now = new Date()
    const name = options.name ?? (given instanceof File ? given.name : '')
    const record: FileRecord = {
      id: options.id ?? crypto.randomUUID(),
      path: options.path ?? name,
      name,
      type: options.type ?? given?.type ?? '',
      size,
      contentHash,
      createdAt: now,
      updatedAt: now,
      ...(options.metadata === undefined ? {} : { metadata: options.metadata }),
    }
    await this.#records.insert(record).durable
    this.#askToPersist()
    return record
  }

  /** Gives a file other bytes; what is not said in `options` stays. */
  async updateFile(id: string, data: FileData, options: Omit<SaveOptions, 'id'> = {}): Promise<FileRecord> {
    this.#checkOpen('updateFile')
    this.#record(id)
    const [contentHash, size] = await this.#save(data)
    const written = this.#records.update(id, draft => {
      // The remote's copy is of the bytes that it was made of.
      if (draft.contentHash !== contentHash) delete draft.remoteKey
      Object.assign(draft, { contentHash, size, updatedAt: new Date() }, defined(options))
    })
    await written.durable
    return this.#record(id)
  }

  /** Deletes a file. Its bytes go once no other record has them, after a grace for open readers. */
  async deleteFile(id: string): Promise<void> {
    this.#checkOpen('deleteFile')
    this.#record(id)
    await this.#records.update(id, draft => {
      draft.deletedAt = new Date()
      draft.updatedAt = draft.deletedAt
    }).durable
  }

  /** The file's bytes, or a part of them, read from disk as they are used. Throws `not_found` where they are not on this device. */
  async readFile(id: string, { start, end }: { start?: number; end?: number } = {}): Promise<Blob> {
    this.#checkOpen('readFile')
    const record = this.#record(id)
    const file = await this.#link.call('read', [record.contentHash])
    if (file === undefined) throw new DriftlineError('not_found', `The bytes of ${record.name || id} are not on this device. The record is kept; enqueueDownload() fetches them once another device has uploaded them.`)
    return file.slice(start ?? 0, end ?? file.size, record.type)
  }

  /** The file's bytes as a stream. */
  async openFile(id: string): Promise<ReadableStream<Uint8Array>> {
    return (await this.readFile(id)).stream()
  }

  /** The address that the service worker serves the file at. */
  fileUrl(id: string): string {
    const record = this.#records.get(id)
    return `${prefixOf(this.#config)}${encodeURIComponent(this.#database)}/${encodeURIComponent(id)}/${encodeURIComponent(record?.name || 'file')}`
  }

  /** An address that works now: the service worker's, or an object URL (for the caller to revoke) where the page is not controlled. */
  async url(id: string): Promise<string> {
    if (globalThis.navigator?.serviceWorker?.controller != null) return this.fileUrl(id)
    return URL.createObjectURL(await this.readFile(id))
  }

  get(id: string): FileRecord | undefined {
    const row = this.#records.get(id)
    return row === undefined || row.deletedAt != null ? undefined : asRecord(row)
  }

  /** Whether there is such a file, here or on another device. */
  async fileExists(id: string): Promise<boolean> {
    await this.#records.ready
    return this.get(id) !== undefined
  }

  listFiles(filter: (record: FileRecord) => boolean = () => true): FileRecord[] {
    const found: FileRecord[] = []
    for (const row of this.#records.values()) {
      if (row.deletedAt != null) continue
      const record = asRecord(row)
      if (filter(record)) found.push(record)
    }
    return found
  }

  state(id: string): LocalFileState | undefined {
    return this.#states.get(id)
  }

  /** Calls back when a file's state on this device, or its record, has changed; with `id`, only for that file. */
  subscribe(listener: (id: string, state: LocalFileState) => void, options: { id?: string } = {}): () => void {
    const own = (id: string, state: LocalFileState) => listener(id, state)
    this.#listeners.set(own, options.id)
    return () => { this.#listeners.delete(own) }
  }

  start(): void { this.resume() }
  stop(): void { this.pause() }
  /** Stops all transfers of this database; they go on where they were after `resume()`. */
  pause(): void { this.#command({ type: 'pause' }) }
  /** Releases every hold: a pause, and what waits for credentials or room. */
  resume(): void { this.#command({ type: 'resume' }) }

  /** Resolves when nothing is saved, transferred or waiting to be. While something holds transfers that wait, it waits too. */
  async awaitIdle(): Promise<void> {
    // The worker has heard of every record that was written before this call.
    await this.#link.call('command', [{ type: 'online', online: navigator.onLine !== false }])
    while (!this.#wire.idle || this.#savesUnderWay > 0) await new Promise<void>(resolve => this.#idleWaiters.add(resolve))
  }

  enqueueUpload(id: string): void { this.#command({ type: 'enqueueUpload', hash: this.#record(id).contentHash }) }
  enqueueDownload(id: string): void { this.#command({ type: 'enqueueDownload', hash: this.#record(id).contentHash }) }
  prioritize(id: string): void { this.#command({ type: 'prioritize', hash: this.#record(id).contentHash }) }
  cancel(id: string): void { this.#command({ type: 'cancel', hash: this.#record(id).contentHash }) }

  /** Calls back as bytes move; for one file and direction never with less than before. */
  onProgress(listener: (progress: TransferProgress) => void): () => void {
    const own = (progress: TransferProgress) => listener(progress)
    this.#progressListeners.add(own)
    return () => { this.#progressListeners.delete(own) }
  }

  /** The same as a stream. A reader that is slow misses what was overtaken. */
  progress(): ReadableStream<TransferProgress> {
    let leave = () => {}
    return new ReadableStream<TransferProgress>({
      start: controller => {
        leave = this.onProgress(progress => { if ((controller.desiredSize ?? 0) > 0) controller.enqueue(progress) })
      },
      cancel: () => leave(),
    }, { highWaterMark: PROGRESS_QUEUE })
  }

  /** Keeps a file on this device, and brings it here. */
  async pin(id: string): Promise<void> {
    await this.#link.call('command', [{ type: 'pin', hash: this.#record(id).contentHash, pinned: true }])
  }

  async unpin(id: string): Promise<void> {
    await this.#link.call('command', [{ type: 'pin', hash: this.#record(id).contentHash, pinned: false }])
  }

  /** Drops the local copy; false if that is not safe: it is pinned, moving, or not uploaded yet. */
  async evict(id: string): Promise<boolean> {
    const { contentHash } = this.#record(id)
    const request = crypto.getRandomValues(new Uint32Array(1))[0] as number
    const answer = new Promise<boolean>(resolve => this.#evictions.set(request, resolve))
    await this.#link.call('command', [{ type: 'evict', request, hash: contentHash }])
    return answer
  }

  /** What is on this device. */
  async usage(): Promise<FilesUsage> {
    const persisted = await navigator.storage.persisted?.() ?? false
    return { ...await this.#link.call('usage', []), persisted }
  }

  /** @internal Ends the worker; what runs goes on in another tab, or next time. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const end of this.#endings) end()
    await this.#link.call('close', []).catch(() => {})
    this.#link.end(closedError('the file store'))
    for (const resolve of this.#evictions.values()) resolve(false)
  }

  async #open(): Promise<void> {
    const { autoUpload, maxConcurrentUploads, maxConcurrentDownloads, chunkBytes, retry, remote } = this.#config
    await this.#link.call('open', [this.#database, {
      baseUrl: remote.baseUrl,
      urlPrefix: prefixOf(this.#config),
      auth: remote.headers !== undefined,
      ...defined({ autoUpload, maxConcurrentUploads, maxConcurrentDownloads, chunkBytes, ...retry }),
    }, wasmSource(this.#config)])
    this.#endings.push(this.#records.subscribe(changes => this.#recordsChanged(changes)))
    await this.#records.ready
    this.#tellRecords([...this.#records.values()].map(row => ({ type: 'insert', key: row.id, value: row })), true)
    const online = () => this.#command({ type: 'online', online: navigator.onLine !== false })
    for (const event of ['online', 'offline']) globalThis.addEventListener(event, online)
    this.#endings.push(() => { for (const event of ['online', 'offline']) globalThis.removeEventListener(event, online) })
    this.#endings.push(answerServiceWorker({
      database: this.#database,
      remote,
      wanted: id => {
        // Shown, not kept: what the app does not want on this device by itself is not stored because it was looked at.
        const record = this.get(id)
        if (record !== undefined && this.#automatic(record)) this.#command({ type: 'wanted', hash: record.contentHash })
      },
    }))
  }

  async #save(data: FileData): Promise<[string, number]> {
    this.#savesUnderWay++
    try {
      if (data instanceof ReadableStream) return await this.#saveStream(data)
      return await this.#link.call('save', [data instanceof Blob ? data : new Blob([data as Uint8Array<ArrayBuffer>])])
    } finally {
      this.#savesUnderWay--
      this.#wakeIdle()
    }
  }

  /** One piece is in the worker at a time, so that a stream is read no faster than it is written. */
  async #saveStream(stream: ReadableStream<Uint8Array>): Promise<[string, number]> {
    const reader = stream.getReader()
    const save = await this.#link.call('saveBegin', [])
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return await this.#link.call('saveEnd', [save])
        for (let at = 0; at < value.length; at += PIECE_BYTES) {
          const piece = value.slice(at, at + PIECE_BYTES)
          await this.#link.call('savePiece', [save, piece], [piece.buffer])
        }
      }
    } catch (error) {
      // What of it can't be dropped now is swept at the next start; the first error is the one to tell.
      await this.#link.call('saveAbort', [save]).catch(() => {})
      await reader.cancel(error).catch(() => {})
      throw error
    }
  }

  #recordsChanged(changes: Change<FileRecord>[]): void {
    this.#tellRecords(changes, false)
    for (const { key } of changes) {
      const state = this.#states.get(key)
      if (state !== undefined) this.#tellState(key, state)
    }
  }

  #tellRecords(changes: Change<FileRecord>[], complete: boolean): void {
    const upserts: RecordFacts[] = []
    const removed: string[] = []
    for (const { key, value } of changes) {
      const facts = value === undefined ? undefined : this.#facts(value)
      if (facts !== undefined) {
        this.#told.add(key)
        upserts.push(facts)
      } else if (this.#told.delete(key)) {
        removed.push(key)
      }
    }
    if (upserts.length > 0 || removed.length > 0 || complete) void this.#link.call('records', [upserts, removed, complete]).catch(() => {})
  }

  /** Checked field by field: records may come from other versions of the app, and over the network. */
  #facts(row: Readonly<FileRecord>): RecordFacts | undefined {
    const { id, contentHash: hash, size } = row
    if (row.deletedAt != null || typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash)) return undefined
    if (!Number.isSafeInteger(size) || size < 0) return undefined
    return { id, hash, size, remote: row.remoteKey === hash, autoDownload: this.#automatic(asRecord(row)) }
  }

  #automatic(record: FileRecord): boolean {
    const { autoDownload = 'all' } = this.#config
    return typeof autoDownload === 'function' ? autoDownload(record) : autoDownload === 'all'
  }

  #heard(event: WorkerEvent): void {
    switch (event.type) {
      case 'state': {
        const state = asState(event.state)
        const before = this.#states.get(state.fileId)
        this.#states.set(state.fileId, state)
        this.#tellState(state.fileId, state)
        if (before?.lastError === undefined && state.lastError !== undefined) this.#status.changed()
        break
      }
      case 'removed': {
        const state = this.#states.get(event.id)
        this.#states.delete(event.id)
        if (state !== undefined) this.#tellState(event.id, { ...state, local: false, uploadStatus: 'none', downloadStatus: 'none', loaded: 0 })
        break
      }
      case 'progress':
        for (const fileId of event.files) this.#progressed(fileId, event)
        break
      case 'status':
        this.#wire = event.status
        this.#status.changed()
        this.#wakeIdle()
        break
      case 'uploaded':
        for (const id of event.files) this.#uploaded(id, event.hash)
        break
      case 'evicted':
        this.#evictions.get(event.request)?.(event.evicted)
        this.#evictions.delete(event.request)
        break
      case 'unavailable':
        console.warn(`Driftline transfers no files: ${event.message}`)
    }
  }

  #progressed(fileId: string, { kind, loaded, total }: { kind: 'upload' | 'download'; loaded: number; total: number }): void {
    const before = this.#states.get(fileId)
    if (before === undefined) return
    const state = { ...before, loaded, total }
    this.#states.set(fileId, state)
    const status = kind === 'upload' ? state.uploadStatus : state.downloadStatus
    for (const listener of [...this.#progressListeners]) guarded(() => listener({ kind, fileId, status, loaded, total }))
    this.#tellState(fileId, state)
  }

  /** The remote has these bytes: a record that still names them says so from now on, on every device. */
  #uploaded(id: string, hash: string): void {
    const row = this.#records.get(id)
    if (row === undefined || row.contentHash !== hash || row.remoteKey === hash) return
    this.#records.update(id, draft => { draft.remoteKey = hash })
  }

  #tellState(id: string, state: LocalFileState): void {
    for (const [listener, only] of [...this.#listeners]) if (only === undefined || only === id) guarded(() => listener(id, state))
  }

  #wakeIdle(): void {
    for (const resolve of this.#idleWaiters) resolve()
    this.#idleWaiters.clear()
  }

  #command(command: WorkerCommand): void {
    this.#checkOpen(command.type)
    // A worker that broke has told whoever saves or reads.
    void this.#link.call('command', [command]).catch(() => {})
  }

  #record(id: string): FileRecord {
    const record = this.get(id)
    if (record === undefined) throw new DriftlineError('not_found', `There is no file with the id ${id}.`)
    return record
  }

  /** Asks once that the browser keeps what is stored; the answer shows in `usage()`. */
  #askToPersist(): void {
    if (this.#askedToPersist) return
    this.#askedToPersist = true
    // Firefox asks the user, and may never answer: nothing waits for it.
    void navigator.storage.persist?.().catch(() => false)
  }

  #checkOpen(call: string): void {
    if (this.#closed) throw closedError(`${call}()`)
  }
}

/** Driftline's own worker, beside the bundle that this becomes part of. */
function ownWorker(): Worker {
  return new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'driftline-files' })
}

function wasmSource({ wasm }: FilesConfig): string | ArrayBuffer | WebAssembly.Module {
  if (wasm === undefined) return new URL('./wasm/worker.wasm', import.meta.url).href
  if (wasm instanceof URL) return wasm.href
  return typeof wasm === 'string' ? new URL(wasm, globalThis.location?.href).href : wasm
}

function prefixOf({ urlPrefix = '/driftline-files/' }: FilesConfig): string {
  return new URL(urlPrefix.endsWith('/') ? urlPrefix : `${urlPrefix}/`, globalThis.location?.href).pathname
}

/** Records that came over a network have their dates as text. */
function asRecord(row: Readonly<FileRecord>): FileRecord {
  const { createdAt, updatedAt, deletedAt, remoteKey, ...rest } = row
  return {
    ...rest,
    createdAt: new Date(createdAt),
    updatedAt: new Date(updatedAt),
    // A field that was removed may have crossed the wire as null.
    ...(remoteKey == null ? {} : { remoteKey }),
    ...(deletedAt == null ? {} : { deletedAt: new Date(deletedAt) }),
  }
}

function asState({ hash, lastError, ...state }: WireState): LocalFileState {
  if (lastError === undefined) return { ...state, ...(state.local ? { localHash: hash } : {}) }
  const { code, message, retryable, limitBytes } = lastError
  const error = new DriftlineError(code as ErrorCode, message, { retryable, sizeBytes: code === 'too_large' ? state.total : undefined, limitBytes } as object)
  return { ...state, ...(state.local ? { localHash: hash } : {}), lastError: error }
}

function defined<T extends object>(given: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> }
}

function closedError(what: string): DriftlineError {
  return new DriftlineError('closed', `${what} can’t be used: the database is closed. What was stored is kept; open it again with openDriftline().`)
}

/** How many reports a slow reader of `progress()` may be behind. */
const PROGRESS_QUEUE = 64
/** The most of a stream that is handed to the worker at a time. */
const PIECE_BYTES = 1024 * 1024
