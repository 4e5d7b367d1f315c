// `driftline/sw`: for an app's own service worker.
export { createFileHandler } from './files.ts'
export type { FileHandler, FileHandlerOptions } from './files.ts'
export { createShellHandler } from './shell.ts'
export type { ShellHandler, ShellHandlerOptions } from './shell.ts'
export type { HeadersAnswer, HeadersMessage, LifecycleMessage, WantedMessage } from './messages.ts'
