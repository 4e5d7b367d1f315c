// The floor of saving: what a worker can do at best with the browser's own means, in one go and with the whole file in memory.
import { digest } from './digest.js'

self.onmessage = async ({ data }) => {
  try {
    self.postMessage({ answer: 'save' in data ? await save(data.save) : await remove(data.remove) })
  } catch (error) {
    self.postMessage({ error: String(error) })
  }
}

async function save(blob) {
  const folder = await rawFolder()
  const temporary = crypto.randomUUID()
  const handle = await folder.getFileHandle(temporary, { create: true })
  const access = await handle.createSyncAccessHandle()
  const bytes = new Uint8Array(await blob.arrayBuffer())
  access.write(bytes)
  access.flush()
  access.close()
  const hash = await digest(bytes)
  await handle.move(folder, hash)
  return hash
}

async function remove(hash) {
  await (await rawFolder()).removeEntry(hash)
}

async function rawFolder() {
  return (await navigator.storage.getDirectory()).getDirectoryHandle('raw', { create: true })
}
