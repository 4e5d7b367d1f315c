// Everything for the page.
export { openDriftline, type Driftline, type OpenOptions } from './db.ts'
export { init, type WasmSource } from './wasm.ts'
export type { Collection, MutationOptions, WriteOptions, Writes } from './collection.ts'
export type { Transaction } from './transaction.ts'
export type { TransactionLog } from './log.ts'
export {
  livestore, mizu, s2, s2Proxy,
  type Backend, type BackendOptions, type LiveStoreOptions, type MizuOptions, type RemoteMetadata, type RemoteSupports, type S2Options, type S2ProxyOptions,
} from './backends.ts'
export { defineBackend, type BackendDefinition, type LogEvent } from './custom.ts'
export type { Remote, RemoteAdmin, RemoteStatus } from './remote.ts'
export {
  AuthRequiredError, BackendResetError, DriftlineError, InvalidPullError, InvalidPushError, IsOfflineError, NetworkError, NonRetriableError, RetryAfterError, ServerAheadError,
  UnexpectedError,
  type AppErrorCode, type ErrorCode, type ErrorDetails,
} from './errors.ts'
export { httpRemote, type HttpRemoteOptions, type RemoteStorage, type FileStore } from './files/index.ts'
export type {
  FileData, FileRecord, FilesConfig, FilesStatus, FilesUsage, LocalFileState, SaveOptions, TransferProgress, TransferStatus,
} from './files/index.ts'
export { registerFileServiceWorker, type FileServiceWorker, type RegisterOptions } from '../sw/register.ts'
export type * from './types.ts'
