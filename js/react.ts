'use client'
// React hooks on an open database. What they give stays the same object until it changes, and all components of a commit
// show the same state (`useSyncExternalStore`). They draw without a DOM too: as before the database is open.
import { createContext, createElement, useContext, useEffect, useMemo, useState, useSyncExternalStore, type ReactNode } from 'react'
import {
  DriftlineError, type Collection, type CollectionConfig, type Driftline, type FileRecord, type LocalFileState,
  type Status, type Transaction, type TransactionFilter,
} from './index.ts'
import { FileView, type FileFacts } from './react/files.ts'
import { absent, collectionStore, collectionStoreOf, type CollectionStatus, type CollectionView } from './react/collections.ts'
import { statusView, transactionsView, type TransactionsView } from './react/log.ts'

export type { CollectionStatus, CollectionView, TransactionFilter }

export interface DriftlineProviderProps {
  /** The open database; `null` while it is not open, and on a server: the hooks show an empty one then. */
  db: Driftline | null | undefined
  children?: ReactNode
}

/** What `useFile` gives. */
export interface FileResult {
  record: FileRecord | undefined
  state: LocalFileState | undefined
  /**
   * An address that works now: the service worker's, or where the page is not controlled an object URL, which is revoked
   * when the component goes. Absent while there is none.
   */
  url: string | undefined
  /** Why the file store could not be opened, or the bytes not be read. */
  error?: Error
}

/** Hands a database to the hooks below it. */
export function DriftlineProvider({ db, children }: DriftlineProviderProps): ReactNode {
  return createElement(DatabaseContext.Provider, { value: db ?? null }, children)
}

/** The provider's database. Throws `not_initialized` without a provider, and while that has no database. */
export function useDriftline(): Driftline {
  const db = useDatabase('useDriftline')
  if (db === null) throw new DriftlineError('not_initialized', 'useDriftline() was called while <DriftlineProvider> has no database. Nothing was changed; open one with openDriftline() and hand it over as db.')
  return db
}

/**
 * A collection's rows and writes. The config is known by its `sync.id`: the first with an id registers the collection in
 * the provider's database, every later one gives the same collection, whatever else it says. So it may be made inline,
 * but a function in it should not close over what changes from render to render. A collection needs no provider.
 */
export function useCollection<T>(of: CollectionConfig<T> | Collection<T>): CollectionView<T> {
  const db = useContext(DatabaseContext)
  const isConfig = 'sync' in of
  if (isConfig && db === undefined) throw missingProvider('useCollection')
  const store = !isConfig ? collectionStoreOf(of) : db == null ? absent<T>() : collectionStore(db, of)
  const token = useSyncExternalStore(store.subscribe, store.token, serverToken)
  return token === SERVER ? store.serverView : store.view()
}

/**
 * The transactions that match, in order: the same array until one of them changes. Each is a view that stays as it is; one
 * that changed is another object. Their promises are the transaction's own.
 */
export function useTransactions(filter: TransactionFilter = {}): readonly Transaction[] {
  const db = useDatabase('useTransactions')
  const view = db === null ? NO_TRANSACTIONS : transactionsView(db)
  const token = useSyncExternalStore(view.subscribe, view.token, serverToken)
  return token === SERVER ? EMPTY : view.list(filter)
}

/** The database's status. */
export function useStatus(): Status {
  const db = useDatabase('useStatus')
  const view = db === null ? NO_STATUS : statusView(db)
  return useSyncExternalStore(view.subscribe, view.value, serverStatus)
}

/** A file: its record, how it stands on this device, and where its bytes are. `db.files()` must have been called. */
export function useFile(id: string | undefined): FileResult {
  const db = useDatabase('useFile')
  const files = db?.fileStore
  if (db !== null && files === undefined) {
    throw new DriftlineError('not_initialized', 'useFile() needs the file store. Nothing was changed; call db.files() before a component that uses it is drawn.')
  }
  const view = useMemo(() => new FileView(files, id), [files, id])
  const facts = useSyncExternalStore(view.subscribe, view.facts, serverFacts)
  const read = useObjectUrl(view, facts)
  const { record, state, servedUrl } = facts
  const url = servedUrl ?? read.url
  const error = facts.error ?? read.error
  return useMemo(() => ({ record, state, url, ...(error === undefined ? {} : { error }) }), [record, state, url, error])
}

/** An object URL of a local file where no service worker serves it. */
function useObjectUrl(view: FileView, { record, state, servedUrl }: FileFacts): { url?: string; error?: Error } {
  const [read, setRead] = useState<{ of: string; url?: string; error?: Error }>()
  const wanted = servedUrl === undefined && state?.local === true ? record?.contentHash : undefined
  useEffect(() => {
    if (wanted === undefined) return
    let url: string | undefined
    let gone = false
    view.read().then(blob => {
      if (gone) return
      url = URL.createObjectURL(blob)
      setRead({ of: wanted, url })
    }, (error: Error) => { if (!gone) setRead({ of: wanted, error }) })
    return () => {
      gone = true
      setRead(undefined)
      if (url !== undefined) URL.revokeObjectURL(url)
    }
  }, [view, wanted])
  return read !== undefined && read.of === wanted ? read : NOTHING_READ
}

function useDatabase(hook: string): Driftline | null {
  const db = useContext(DatabaseContext)
  if (db === undefined) throw missingProvider(hook)
  return db
}

function missingProvider(hook: string): DriftlineError {
  return new DriftlineError('not_initialized', `${hook}() was called outside a <DriftlineProvider>. Nothing was changed; put one around the app: <DriftlineProvider db={await openDriftline({ name })}>.`)
}

function serverToken(): number { return SERVER }
function serverStatus(): Status { return NO_STATUS.value() }
function serverFacts(): FileFacts { return NO_FACTS }
function never(): () => void { return () => {} }

/** `undefined` without a provider, `null` while that has no database. */
const DatabaseContext = createContext<Driftline | null | undefined>(undefined)
/** What a server draws, and a page until it has hydrated; stores count from zero. */
const SERVER = -1
const NO_FACTS: FileFacts = {}
const NOTHING_READ = {}
const EMPTY: readonly Transaction[] = []
const NO_TRANSACTIONS: TransactionsView = { subscribe: never, token: serverToken, list: () => EMPTY }
const UNKNOWN_STATUS: Status = { online: true, leader: {}, pending: 0, failed: 0 }
const NO_STATUS = { subscribe: never, value: () => UNKNOWN_STATUS }
