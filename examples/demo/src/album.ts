// The album: files of any kind, saved on this device first. A picture is shown as one, anything else as a card with a link.
import type { FileRecord, FileStore, LocalFileState } from 'driftline'
import { find, keyed, make, onceAFrame, plural, say, short, size } from './dom.js'
import { explain, notify } from './notices.js'
import type { SavingCount } from './status.js'

/** Shows the album, its transfers and the field that adds to it. */
export function showAlbum(files: FileStore, settings: AlbumSettings): void {
  const list = find('.album', HTMLElement)
  const render = () => {
    const records = files.listFiles().filter(record => record.deletedAt === undefined)
    records.sort((a, b) => time(b) - time(a) || (a.id < b.id ? -1 : 1))
    const items: Item[] = [...saving, ...records.map(record => ({ key: record.id, name: record.name, record }))]
    keyed(list, items, item => item.key, item => card(files, item), (element, item) => fill(files, element, item))
    find('[data-testid="album-empty"]', HTMLElement).hidden = items.length > 0
    say(find('[data-testid="photo-count"]', HTMLElement), records.length === 0 ? '' : `${plural(records.length, 'file')}, ${size(records.reduce((sum, record) => sum + record.size, 0))}`)
    void showUsage(files, records)
  }
  // Progress may come many times between two frames.
  const soon = onceAFrame(render)
  files.subscribe(soon)
  navigator.serviceWorker?.addEventListener('controllerchange', soon)
  readInput(files, soon)
  readKeepAll(files, settings)
  render()
}

/** Whether files of other devices are fetched by themselves; kept over reloads. */
export class AlbumSettings {
  get keepAll(): boolean { return localStorage.getItem(KEEP_ALL) !== 'no' }
  set keepAll(value: boolean) { localStorage.setItem(KEEP_ALL, value ? 'yes' : 'no') }
}

/** How many files are being written to this device. */
export const savingCount: SavingCount = {
  get value() { return saving.size },
  subscribe(listener) { savingListeners.add(listener) },
}

interface Item { key: string; name: string; record?: FileRecord }

/** Files that are being written to this device: they have no record yet. */
const saving = new Set<Item>()
const savingListeners = new Set<() => void>()

function readInput(files: FileStore, changed: () => void): void {
  const input = find('#photo-input', HTMLInputElement)
  const drop = find('.drop', HTMLElement)
  input.addEventListener('change', () => {
    for (const file of input.files ?? []) void save(files, file, changed)
    input.value = ''
  })
  for (const type of ['dragover', 'dragleave', 'drop'] as const) {
    drop.addEventListener(type, event => {
      event.preventDefault()
      drop.classList.toggle('over', type === 'dragover')
      if (type === 'drop') for (const file of event.dataTransfer?.files ?? []) void save(files, file, changed)
    })
  }
}

async function save(files: FileStore, file: File, changed: () => void): Promise<void> {
  const item: Item = { key: crypto.randomUUID(), name: file.name }
  const tell = () => {
    changed()
    for (const listener of savingListeners) listener()
  }
  saving.add(item)
  tell()
  try {
    await files.saveFile(file)
  } catch (error) {
    notify(`“${short(file.name)}” was not saved. ${explain(error)} The rest of the album is as it was.`)
  } finally {
    saving.delete(item)
    tell()
  }
}

function readKeepAll(files: FileStore, settings: AlbumSettings): void {
  const box = find('[data-testid="keep-all"]', HTMLInputElement)
  box.checked = settings.keepAll
  box.addEventListener('change', () => {
    settings.keepAll = box.checked
    if (!box.checked) return
    for (const record of files.listFiles()) if (record.remoteKey !== undefined && files.state(record.id)?.local !== true) files.enqueueDownload(record.id)
  })
}

function card(files: FileStore, { key, name, record }: Item): HTMLLIElement {
  const view = make('div', { className: 'view' }, make('span', { className: 'kind' }, record === undefined ? '…' : kind(record)))
  const facts = make('div', { className: 'facts' }, make('p', { className: 'name' }, short(name, 80)), make('p', { className: 'where' }))
  if (record === undefined) {
    facts.append(make('progress', { 'aria-label': `Saving ${name}` }))
    return make('li', { 'data-testid': 'saving' }, view, facts)
  }
  const retry = make('button', { type: 'button', className: 'link', hidden: true, 'data-testid': 'photo-retry' }, 'Try again')
  retry.addEventListener('click', () => {
    if (files.state(key)?.uploadStatus === 'error') files.enqueueUpload(key)
    else files.enqueueDownload(key)
  })
  const remove = make('button', { type: 'button', className: 'quiet', 'data-testid': 'photo-remove', 'aria-label': `Remove ${name}` }, '✕')
  remove.addEventListener('click', () => { files.deleteFile(key).catch(error => notify(`“${short(name)}” was not removed. ${explain(error)}`)) })
  facts.append(
    make('progress', { 'data-testid': 'progress', max: 1, hidden: true }),
    make('div', { className: 'acts' }, make('a', { href: files.fileUrl(key), download: name, 'data-testid': 'download', hidden: true }, 'Download'), retry))
  return make('li', { 'data-testid': 'photo', 'data-id': key }, view, facts, remove)
}

function fill(files: FileStore, element: HTMLLIElement, { key, record }: Item): void {
  const where = find('.where', HTMLElement, element)
  if (record === undefined) return say(where, 'Saving on this device…')
  const state = files.state(key)
  const reachable = state?.local === true || record.remoteKey !== undefined
  element.dataset['local'] = String(state?.local === true)
  element.dataset['upload'] = state?.uploadStatus ?? 'none'
  element.dataset['download'] = state?.downloadStatus ?? 'none'
  const broken = state?.uploadStatus === 'error' || state?.downloadStatus === 'error'
  say(where, `${size(record.size)} · ${whereItIs(record, state)}`)
  where.classList.toggle('bad', broken)
  find('[data-testid="photo-retry"]', HTMLElement, element).hidden = !broken
  find('[data-testid="download"]', HTMLElement, element).hidden = !reachable
  showProgress(find('progress', HTMLProgressElement, element), record, state)
  if (record.type.startsWith('image/') && reachable) void showPicture(files, element, record, state?.local === true)
}

function showProgress(bar: HTMLProgressElement, record: FileRecord, state: LocalFileState | undefined): void {
  const going = state?.uploadStatus === 'inProgress' ? 'Uploading' : state?.downloadStatus === 'inProgress' ? 'Downloading' : undefined
  bar.hidden = going === undefined
  if (going === undefined || state === undefined) return
  bar.setAttribute('aria-label', `${going} ${record.name}`)
  bar.value = state.total > 0 ? state.loaded / state.total : 0
}

/** Shows a picture through the service worker, or from the store where the page is not controlled (the first visit, a shift-reload). */
async function showPicture(files: FileStore, element: HTMLLIElement, record: FileRecord, local: boolean): Promise<void> {
  const view = find('.view', HTMLElement, element)
  const through = navigator.serviceWorker?.controller != null
  // What decides the address: when none of it has changed, a picture that is there stays, and one that failed is not asked for again.
  const sought = `${record.contentHash} ${through} ${local}`
  if (view.dataset['sought'] === sought) return
  const shown = view.querySelector('img')
  view.dataset['sought'] = sought
  if (shown !== null && shown.complete && shown.naturalWidth > 0) return
  let address: string
  try {
    address = through ? files.fileUrl(record.id) : await files.url(record.id)
  } catch {
    return
  }
  const picture = make('img', { alt: record.name, hidden: true, 'data-testid': 'picture' })
  // Until it has loaded, and if it can't be shown, the card says what kind of file it is.
  picture.addEventListener('load', () => { picture.hidden = false })
  picture.addEventListener('error', () => {
    picture.remove()
    // A record shows at once, the service worker knows it once it is in the journal: a first answer may come too early.
    const tries = (triesOf.get(view) ?? 0) + 1
    triesOf.set(view, tries)
    if (tries > MOST_TRIES || view.dataset['sought'] !== sought) return
    setTimeout(() => {
      if (view.dataset['sought'] !== sought) return
      delete view.dataset['sought']
      void showPicture(files, element, record, local)
    }, tries * TRY_AGAIN_MS)
  })
  shown?.remove()
  view.append(picture)
  picture.src = address
}

function whereItIs(record: FileRecord, state: LocalFileState | undefined): string {
  const percent = state !== undefined && state.total > 0 ? ` ${Math.floor((state.loaded / state.total) * 100)}%` : ''
  if (state?.uploadStatus === 'error') return `not uploaded: ${state.lastError === undefined ? 'the server refused it' : explain(state.lastError)} It is kept on this device.`
  if (state?.downloadStatus === 'error') return `not downloaded: ${state.lastError === undefined ? 'the server did not give it' : explain(state.lastError)}`
  if (state?.uploadStatus === 'inProgress') return `uploading${percent}`
  if (state?.downloadStatus === 'inProgress') return `downloading${percent}`
  if (state?.local === true) return record.remoteKey === undefined ? 'on this device, waits to be uploaded' : 'on this device and the server'
  if (record.remoteKey === undefined) return 'on the device that added it, not uploaded yet'
  return state?.downloadStatus === 'queued' || state?.downloadStatus === 'pending' ? 'on the server, waits to be downloaded' : 'on the server'
}

/** Asks the store only when a file came or went, as progress draws many times a second. */
async function showUsage(files: FileStore, records: FileRecord[]): Promise<void> {
  const present = records.map(record => `${record.id} ${files.state(record.id)?.local === true}`).join()
  const line = find('[data-testid="usage"]', HTMLElement)
  if (line.dataset['of'] === present) return
  line.dataset['of'] = present
  const { bytes, files: count, persisted } = await files.usage()
  say(line, count === 0 ? '' : `${size(bytes)} in ${plural(count, 'file')} on this device${persisted ? ', kept until you remove them' : ''}.`)
}

/** The file's ending, or its type, for the card of what is not a picture. */
function kind(record: FileRecord): string {
  const ending = /\.([A-Za-z0-9]{1,5})$/.exec(record.name)?.[1]
  return ending ?? (record.type.split('/')[1] || 'file').slice(0, 8)
}

function time(record: FileRecord): number {
  return new Date(record.createdAt).getTime()
}

/** How often a picture that failed was asked for again, in the element that shows it. */
const triesOf = new WeakMap<Element, number>()
const MOST_TRIES = 5
const TRY_AGAIN_MS = 200
const KEEP_ALL = 'driftline-demo:keep-all'
