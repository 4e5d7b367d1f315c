// What the page and its worker say to each other: plain data. The Rust side is `crates/web/src/transfer/message.rs`.

export type TransferStatus = 'none' | 'pending' | 'queued' | 'inProgress' | 'done' | 'error'

/** How the worker is set up. */
export interface WorkerConfig {
  /** Absolute, without a trailing slash. */
  baseUrl: string
  urlPrefix: string
  auth: boolean
  autoUpload?: boolean
  maxConcurrentUploads?: number
  maxConcurrentDownloads?: number
  chunkBytes?: number
  retries?: number
  baseDelayMs?: number
  maxDelayMs?: number
  paused?: boolean
}

/** What the worker needs to know of a record. */
export interface RecordFacts { id: string; hash: string; size: number; remote: boolean; autoDownload: boolean }

/** A file's state on this device, as the planner has it. */
export interface WireState {
  fileId: string
  hash: string
  local: boolean
  uploadStatus: TransferStatus
  downloadStatus: TransferStatus
  loaded: number
  total: number
  lastError?: { code: string; message: string; retryable: boolean; limitBytes?: number }
  pinned: boolean
}

export interface WireStatus {
  uploading: number
  downloading: number
  queued: number
  held?: 'auth' | 'paused' | 'offline' | 'quota'
  loaded: number
  total: number
  idle: boolean
}

export type WorkerCommand =
  | { type: 'wanted' | 'enqueueUpload' | 'enqueueDownload' | 'prioritize' | 'cancel'; hash: string }
  | { type: 'pin'; hash: string; pinned: boolean }
  | { type: 'evict'; request: number; hash: string }
  | { type: 'pause' | 'resume' }
  | { type: 'online'; online: boolean }

export type WorkerEvent =
  | { type: 'state'; state: WireState }
  | { type: 'removed'; id: string }
  | { type: 'progress'; kind: 'upload' | 'download'; files: string[]; loaded: number; total: number }
  | { type: 'status'; status: WireStatus }
  | { type: 'uploaded'; hash: string; files: string[] }
  | { type: 'evicted'; request: number; evicted: boolean }
  | { type: 'unavailable'; message: string }

export interface WireUsage { bytes: number; files: number; evictableBytes: number; quota: number }

/** The calls that the worker answers. */
export interface Calls {
  open(database: string, config: WorkerConfig, wasm: string | ArrayBuffer | WebAssembly.Module): void
  /** Answers the SHA-256 in hex and the size in bytes. */
  save(source: Blob): [string, number]
  saveBegin(): number
  savePiece(save: number, bytes: Uint8Array): void
  saveEnd(save: number): [string, number]
  saveAbort(save: number): void
  read(hash: string): File | undefined
  records(upserts: RecordFacts[], removed: string[], complete: boolean): void
  command(command: WorkerCommand): void
  usage(): WireUsage
  close(): void
}

export interface Ask { call: number; name: keyof Calls; params: Parameters<Calls[keyof Calls]> }

export type ToWorker = Ask | { ask: number; headers: [string, string][] | Error }

export type Answer =
  | { type: 'answer'; call: number; value: unknown }
  | { type: 'answer'; call: number; error: { code: string; message: string } }

export type FromWorker =
  | { type: 'ready' }
  | Answer
  | { type: 'event'; event: WorkerEvent }
  | { type: 'headers'; ask: number; method: string; url: string }
