// The floor of serving: the least that a service worker can do to answer with a file.
self.addEventListener('install', () => self.skipWaiting())
self.addEventListener('activate', event => event.waitUntil(self.clients.claim()))
self.addEventListener('fetch', event => {
  if (new URL(event.request.url).pathname === '/raw/file') event.respondWith(answer())
})

async function answer() {
  const handle = await (await navigator.storage.getDirectory()).getFileHandle('raw-served')
  return new Response(await handle.getFile(), { headers: { 'Content-Type': 'application/octet-stream' } })
}
