// A plugin for Vite: the ready service worker in development and in the build, and what the dev server needs to know.

/** What the plugin may be told. */
export interface DriftlineViteOptions {
  /**
   * Where the ready service worker stands, below Vite's `base`: the path that `registerFileServiceWorker` is given.
   * `false` for an app that has its own. Default `driftline-sw.js`.
   */
  serviceWorker?: string | false
}

/** A plugin as Vite takes it. */
export interface DriftlineVitePlugin {
  name: 'driftline'
  config(): { optimizeDeps: { include: string[]; exclude: string[] } }
  configResolved(config: { base: string; build: { ssr: boolean | string } }): void
  configureServer(server: { middlewares: { use(route: string, handle: (request: unknown, response: ServerAnswer) => void): unknown } }): void
  generateBundle(this: { emitFile(file: { type: 'asset'; fileName: string; source: string }): string }): Promise<void>
}

interface ServerAnswer {
  setHeader(name: string, value: string): unknown
  end(text: string): unknown
}

/** Vite’s plugin for an app that uses Driftline: `plugins: [driftline()]`. */
export function driftline({ serviceWorker = 'driftline-sw.js' }: DriftlineViteOptions = {}): DriftlineVitePlugin {
  const path = serviceWorker === false ? undefined : serviceWorker.replace(/^\/+/, '')
  let base = '/'
  let forServer = false
  return {
    name: 'driftline',
    config: () => ({
      // Bundled ahead, the package would look for its wasm files and its worker beside the bundle, where they are not.
      optimizeDeps: { exclude: ['driftline'], include: ['driftline > mutative'] },
    }),
    configResolved(config) {
      base = config.base
      forServer = Boolean(config.build.ssr)
    },
    configureServer({ middlewares }) {
      if (path === undefined) return
      middlewares.use(`${base}${path}`, (_, response) => {
        void readyWorker().then(source => {
          response.setHeader('content-type', 'text/javascript')
          response.setHeader('cache-control', 'no-cache')
          response.end(source)
        })
      })
    },
    async generateBundle() {
      if (path !== undefined && !forServer) this.emitFile({ type: 'asset', fileName: path, source: await readyWorker() })
    },
  }
}

/** The text of `driftline/sw.js`, without the line that names a source map, which stands elsewhere. */
async function readyWorker(): Promise<string> {
  // Not by its name: these sources have the types of pages alone.
  const module = 'node:fs/promises'
  const { readFile } = await import(module) as { readFile(file: URL, encoding: 'utf8'): Promise<string> }
  const source = await readFile(new URL('./sw.js', import.meta.url), 'utf8')
  return source.replace(/^\/\/# sourceMappingURL=.*$/m, '')
}
