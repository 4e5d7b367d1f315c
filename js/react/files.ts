// One file as a component draws it.
import { DriftlineError, type FileRecord, type FileStore, type LocalFileState } from '../index.ts'
import { same } from './same.ts'

export interface FileFacts {
  record?: FileRecord | undefined
  state?: LocalFileState | undefined
  /** The service worker's address, where one controls the page. */
  servedUrl?: string | undefined
  /** Why the file store is not there. */
  error?: Error | undefined
}

/** A file store that may still be opening. */
interface OpenFiles { readonly store: Promise<FileStore>; readonly opened?: FileStore }

/** A file of it. */
export class FileView {
  readonly #files: OpenFiles | undefined
  readonly #id: string | undefined
  #error: Error | undefined
  #facts: FileFacts = {}

  constructor(files: OpenFiles | undefined, id: string | undefined) {
    this.#files = files
    this.#id = id
  }

  readonly subscribe = (changed: () => void): (() => void) => {
    const id = this.#id
    const files = this.#files
    if (files === undefined || id === undefined) return () => {}
    let leave: (() => void) | undefined
    let gone = false
    const listen = (store: FileStore) => { if (!gone) leave = store.subscribe(changed, { id }) }
    if (files.opened !== undefined) listen(files.opened)
    else files.store.then(listen, (error: Error) => { this.#error = error }).then(() => { if (!gone) changed() })
    const container = globalThis.navigator?.serviceWorker
    container?.addEventListener('controllerchange', changed)
    return () => {
      gone = true
      leave?.()
      container?.removeEventListener('controllerchange', changed)
    }
  }

  /** The same object until something changes. */
  readonly facts = (): FileFacts => {
    const store = this.#files?.opened
    const id = this.#id
    const record = store === undefined || id === undefined ? undefined : store.get(id)
    const facts: FileFacts = {
      record: same(record, this.#facts.record) ? this.#facts.record : record,
      state: id === undefined ? undefined : store?.state(id),
      servedUrl: record !== undefined && globalThis.navigator?.serviceWorker?.controller != null ? store?.fileUrl(record.id) : undefined,
      error: this.#error,
    }
    if (!same(facts, this.#facts)) this.#facts = facts
    return this.#facts
  }

  /** The bytes as they are on this device. */
  async read(): Promise<Blob> {
    const store = this.#files?.opened
    if (store === undefined || this.#id === undefined) throw new DriftlineError('not_initialized', 'The file store is not open yet: db.files() is still under way.')
    return store.readFile(this.#id)
  }
}
