// What the compiler must know of driftline/vite: checked, never run.
import { driftline } from 'driftline/vite'
import { defineConfig } from 'vite'

export const plain = defineConfig({ plugins: [driftline()] })
export const other = defineConfig({ plugins: [driftline({ serviceWorker: 'files.js' }), driftline({ serviceWorker: false })] })
// @ts-expect-error a service worker has a path, or there is none
export const wrong = driftline({ serviceWorker: true })
