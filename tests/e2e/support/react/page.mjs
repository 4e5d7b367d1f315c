// The browser's side of the React tests: the app, what tests write components with, and a backend that they hold.
import * as React from 'react'
import { flushSync } from 'react-dom'
import { createRoot, hydrateRoot } from 'react-dom/client'
import * as hooks from 'driftline/react'
import * as driftline from 'driftline'
import { App } from './app.mjs'

/** A backend in the page: rows that the feed delivers, and writes that wait until they are let through. */
class Backend {
  rows = []
  setups = 0
  /** `answer()` lets the oldest write through, `answer(error)` refuses it. */
  #waiting = []

  async setup({ onUpdate }) {
    this.setups++
    this.deliver = onUpdate
    return { data: this.rows }
  }

  persist() {
    return new Promise((resolve, reject) => this.#waiting.push(error => { if (error === undefined) resolve(); else reject(error) }))
  }

  async answer(error) {
    await until(() => this.#waiting.length > 0)
    this.#waiting.shift()(error)
  }
}

/** Draws an element into the page, in StrictMode; `render` draws another in its place. */
function mount(element) {
  const node = document.body.appendChild(document.createElement('div'))
  const root = createRoot(node)
  const render = shown => flushSync(() => root.render(React.createElement(React.StrictMode, null, shown)))
  render(element)
  return { node, render, unmount: () => flushSync(() => root.unmount()) }
}

/** Resolves once it is so, asking before each frame. */
async function until(isSo) {
  while (!isSo()) await frame()
}

/** Resolves before the next frame is painted. */
function frame() {
  return new Promise(resolve => requestAnimationFrame(resolve))
}

/** Counts those who listen, from now on. */
function counted(source) {
  const count = { now: 0, ever: 0 }
  const { subscribe } = source
  source.subscribe = (...given) => {
    count.now++
    count.ever++
    const leave = subscribe.apply(source, given)
    return () => { count.now--; leave() }
  }
  return count
}

Object.assign(globalThis, { React, h: React.createElement, hooks, App, Backend, mount, until, frame, counted, flushSync, hydrateRoot, driftline })
