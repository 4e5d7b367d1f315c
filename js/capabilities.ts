// What this browser gives the page.
import type { Capabilities } from './types.ts'

/** Looks once, when a database is opened. */
export async function capabilities(): Promise<Capabilities> {
  const { storage, locks, serviceWorker } = navigator
  return {
    opfs: typeof storage?.getDirectory === 'function',
    // Workers alone may call it, but the interface is there for the page to see where it is exposed at all.
    syncAccessHandle: 'FileSystemSyncAccessHandle' in globalThis || (typeof FileSystemFileHandle !== 'undefined' && 'createSyncAccessHandle' in FileSystemFileHandle.prototype),
    locks: locks !== undefined,
    broadcastChannel: typeof BroadcastChannel !== 'undefined',
    serviceWorker: serviceWorker !== undefined,
    backgroundSync: 'SyncManager' in globalThis,
    persisted: (await storage?.persisted?.().catch(() => false)) ?? false,
  }
}
