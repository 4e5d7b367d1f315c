#!/usr/bin/env node
// A "safaridriver" for wasm-bindgen-test-runner on Linux: WebKitGTK's driver under Xvfb, starting browser.py.
//   wasm-pack test --headless --safari --safaridriver tests/webkit/safaridriver.mjs <crate>
// The runner passes --port=N, asks for a Safari session and kills this process hard at the end; so the children are
// started by setpriv, which has the kernel kill them when this process is gone.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const START_TRIES = 100
const START_PAUSE_MS = 50
const WEBDRIVER = '/usr/bin/WebKitWebDriver'

const browser = fileURLToPath(new URL('browser.py', import.meta.url))
const port = Number((process.argv.find(argument => argument.startsWith('--port=')) ?? '--port=4444').slice('--port='.length))
const driverPort = await freePort()
startDriver(await display())
await answers(driverPort)
http.createServer(forward).listen(port, '127.0.0.1')

/** Passes a WebDriver command on; a new session is asked for with our browser instead of Safari. */
async function forward(request, response) {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const isNewSession = request.method === 'POST' && request.url === '/session'
  const body = isNewSession ? JSON.stringify(sessionOfOurBrowser()) : Buffer.concat(chunks).toString()
  try {
    const answer = await fetch(`http://127.0.0.1:${driverPort}${request.url}`, {
      method: request.method,
      body: request.method === 'POST' ? body : undefined,
      headers: { 'content-type': 'application/json' },
    })
    response.writeHead(answer.status, { 'content-type': 'application/json' })
    response.end(await answer.text())
  } catch (error) {
    response.writeHead(500, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ value: { error: 'unknown error', message: String(error) } }))
  }
}

function sessionOfOurBrowser() {
  const options = { binary: browser, args: ['--automation'] }
  return { capabilities: { alwaysMatch: { acceptInsecureCerts: true, 'webkitgtk:browserOptions': options } } }
}

/** The driver, and through it the browser, with homes of their own. */
function startDriver(DISPLAY) {
  const home = mkdtempSync(path.join(os.tmpdir(), 'webkit-'))
  const runtime = path.join(home, 'run')
  mkdirSync(runtime, { mode: 0o700 })
  const env = {
    ...process.env,
    DISPLAY,
    WEBKIT_TEST_PROFILE: path.join(home, 'profile'),
    XDG_RUNTIME_DIR: runtime,
    XDG_DATA_HOME: path.join(home, 'data'),
    XDG_CACHE_HOME: path.join(home, 'cache'),
    XDG_CONFIG_HOME: path.join(home, 'config'),
    WEBKIT_DISABLE_DMABUF_RENDERER: '1',
    WEBKIT_DISABLE_COMPOSITING_MODE: '1',
    LIBGL_ALWAYS_SOFTWARE: '1',
    NO_AT_BRIDGE: '1',
    GSETTINGS_BACKEND: 'memory',
    DBUS_SESSION_BUS_ADDRESS: 'disabled:',
  }
  spawnBound(WEBDRIVER, [`--port=${driverPort}`], { env, stdio: 'inherit' })
}

/** The X display: the user's, or a virtual one of our own. */
async function display() {
  if (process.env.DISPLAY) return process.env.DISPLAY
  const xvfb = spawnBound('Xvfb', ['-displayfd', '3', '-screen', '0', '1280x800x24', '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  })
  const number = await new Promise((resolve, reject) => {
    xvfb.stdio[3].once('data', data => resolve(String(data).trim()))
    xvfb.once('exit', code => reject(new Error(`Xvfb stopped with ${code}`)))
  })
  return `:${number}`
}

function spawnBound(program, args, options) {
  return spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], options)
}

async function answers(driverPort) {
  for (let tried = 0; tried < START_TRIES; tried++) {
    try {
      return await fetch(`http://127.0.0.1:${driverPort}/status`)
    } catch {
      await new Promise(resolve => setTimeout(resolve, START_PAUSE_MS))
    }
  }
  throw new Error(`${WEBDRIVER} does not answer`)
}

function freePort() {
  return new Promise(resolve => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}
