// The types of the file store's public face.
import type { DriftlineError } from '../errors.ts'
import type { Remote } from '../remote.ts'
import type { RemoteStorage } from './remote.ts'
import type { TransferStatus } from './wire.ts'

export type { TransferStatus } from './wire.ts'

export interface FilesConfig {
  remote: RemoteStorage
  /** Syncs the records over it; by default they stay on this device. */
  records?: Remote
  /** The path that the service worker serves files under; `/driftline-files/`. */
  urlPrefix?: string
  /** Whether what is saved is uploaded by itself; true. */
  autoUpload?: boolean
  /** Which files of other devices are fetched by themselves; all. */
  autoDownload?: 'all' | 'none' | ((record: FileRecord) => boolean)
  /** 2. */
  maxConcurrentUploads?: number
  /** 4. */
  maxConcurrentDownloads?: number
  retry?: { retries?: number /* 4 */; baseDelayMs?: number /* 1_000 */; maxDelayMs?: number /* 60_000 */ }
  /** The size of an upload's parts; 8 MiB. */
  chunkBytes?: number
  /** Makes the worker; by default driftline's own `worker.js`, beside the bundle. */
  worker?: () => Worker
  /** Where the worker's wasm file is; by default beside the bundle. */
  wasm?: URL | string | ArrayBuffer | WebAssembly.Module
}

/** A file's record: a row of the collection `files`. */
export interface FileRecord {
  id: string
  path: string
  name: string
  type: string
  size: number
  /** SHA-256 in hex. */
  contentHash: string
  /** Set once the remote has the bytes. */
  remoteKey?: string
  createdAt: Date
  updatedAt: Date
  deletedAt?: Date
  metadata?: unknown
}

/** What holds of a file on this device. */
export interface LocalFileState {
  fileId: string
  /** Whether the bytes are here. */
  local: boolean
  localHash?: string
  uploadStatus: TransferStatus
  downloadStatus: TransferStatus
  /** Bytes moved by a transfer that runs or waits. */
  loaded: number
  total: number
  lastError?: DriftlineError
  pinned: boolean
  lastAccess?: Date
}

export interface TransferProgress { kind: 'upload' | 'download'; fileId: string; status: TransferStatus; loaded: number; total: number }

export interface FilesStatus {
  uploading: number
  downloading: number
  queued: number
  /** Why nothing is started, if something holds it. */
  held?: 'auth' | 'paused' | 'offline' | 'quota'
  loaded: number
  total: number
}

export interface SaveOptions { name?: string; type?: string; path?: string; metadata?: unknown; id?: string }

export type FileData = Blob | File | Uint8Array | ReadableStream<Uint8Array>

export interface FilesUsage { bytes: number; files: number; evictableBytes: number; quota: number; persisted: boolean }
