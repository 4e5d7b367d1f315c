// The ready service worker, `driftline/sw.js`: one file to serve from the app's own origin.
import { createFileHandler } from './files.ts'

createFileHandler().install()
