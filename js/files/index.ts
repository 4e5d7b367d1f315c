// Files, for `js/index.ts` and `js/db.ts`.
export { httpRemote, type HttpRemoteOptions, type RemoteStorage } from './remote.ts'
export { FileStore, openFiles, type FileRecords, type FileStoreParts } from './store.ts'
export type {
  FileData, FileRecord, FilesConfig, FilesStatus, FilesUsage, LocalFileState, SaveOptions, TransferProgress, TransferStatus,
} from './types.ts'
