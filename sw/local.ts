// Opens a blob from the store on this device (OPFS).

/**
 * Opens a published blob; undefined if it is not here whole. The file is got anew for each request, as a `File` goes
 * stale when its bytes are moved or deleted.
 */
export async function openLocal(database: string, hash: string, size: number): Promise<File | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      const file = await (await handle(database, hash)).getFile()
      return file.size === size ? file : undefined
    } catch (error) {
      if (!(error instanceof DOMException && PASSING.includes(error.name))) return undefined
    }
  }
  return undefined
}

async function handle(database: string, hash: string): Promise<FileSystemFileHandle> {
  let folder = await navigator.storage.getDirectory()
  for (const name of ['driftline', encodeURIComponent(database), 'blobs', hash.slice(0, 2)]) {
    folder = await folder.getDirectoryHandle(name)
  }
  return folder.getFileHandle(hash)
}

/** What a browser says while a file is being moved or swept. */
const PASSING = ['NotReadableError', 'AbortError', 'NotFoundError']
const ATTEMPTS = 2
