// The same suite, and one on the real IndexedDB, in a browser: `npx vitest run --config vitest.browser.config.mjs`.
import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  // Driftline finds its wasm file beside its own script, so that must stay where it is; what it imports may be made ready
  // ahead, or the first test would begin anew when it is. From node_modules that is 'driftline > mutative'.
  optimizeDeps: { exclude: ['driftline'], include: ['mutative'] },
  // Here the package is this repository; an app that has it in node_modules needs no such word.
  server: { fs: { allow: ['../..'] } },
  test: {
    include: ['*.test.ts', '*.browser-test.ts'],
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      // Without CHROMIUM, Playwright’s own browser is used.
      provider: playwright({ launchOptions: { executablePath: process.env['CHROMIUM'], args: ['--no-sandbox', '--disable-gpu'] } }),
      instances: [{ browser: 'chromium' }],
    },
  },
})
