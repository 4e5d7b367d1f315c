// The demo's own service worker: files under /driftline-files/ by Driftline, the page itself from a precache.
// The build writes the names and the version, which is a digest of what they hold, so a new build is a new version.
import { createFileHandler, createShellHandler } from 'driftline/sw'

declare const SHELL_FILES: string[]
declare const SHELL_VERSION: string

createFileHandler().install()
createShellHandler({ precache: SHELL_FILES, version: SHELL_VERSION }).install()
