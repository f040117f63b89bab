/**
 * The module that all pages load: regions that refresh themselves, and keys. Pages work without it. It makes no markup from
 * text, because the page's policy allows no such sink: new markup comes as a document that the browser has parsed.
 */
export const script = `
document.documentElement.classList.add('scripted')

const read = (url, signal) => new Promise((resolve, reject) => {
  const request = new XMLHttpRequest()
  request.open('GET', url)
  request.responseType = 'document'
  request.timeout = 10000
  request.onload = () => request.response ? resolve(request.response) : reject(new Error('no document'))
  request.onerror = request.ontimeout = request.onabort = () => reject(new Error('not reachable'))
  signal?.addEventListener('abort', () => request.abort())
  request.send()
})

const move = (parent, node, before) => {
  if (node === before) return
  if (node.isConnected && parent.moveBefore) parent.moveBefore(node, before)
  else parent.insertBefore(node, before)
}

const isCalm = matchMedia('(prefers-reduced-motion: reduce)').matches

/** Changes an element into another one, and keeps what the viewer did: focus, typed text, what is open. */
export const morph = (from, to) => {
  if (from.isEqualNode(to)) return
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value && !(name === 'open')) from.setAttribute(name, value)
  }
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && name !== 'open') from.removeAttribute(name)
  if (from.hasAttribute('data-keep') || from.tagName === 'TEXTAREA') return
  let at = from.firstChild
  for (const wanted of [...to.childNodes]) {
    let found = null
    if (wanted.id) found = [...from.children].find((child) => child.id === wanted.id) ?? null
    else for (let one = at; one; one = one.nextSibling) {
      if (one.nodeName === wanted.nodeName && !one.id) { found = one; break }
      if (wanted.nodeType === 3) break
    }
    if (found === null) { from.insertBefore(document.importNode(wanted, true), at); continue }
    if (found === at) at = at.nextSibling
    else move(from, found, at)
    if (wanted.nodeType === 1) morph(found, wanted)
    else if (found.nodeValue !== wanted.nodeValue) {
      found.nodeValue = wanted.nodeValue
      if (isCalm || !/^\\d/.test(found.nodeValue) || from.tagName === 'TIME') continue
      from.animate([{ color: 'var(--accent)', opacity: .45 }, { color: 'var(--accent)', opacity: 1 }, {}], 900)
    }
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next }
}

let timer
let isReading = false
let banner

const unreachable = (isAway) => {
  if (!isAway) { banner?.remove(); banner = undefined; return }
  if (banner) return
  banner = document.createElement('p')
  banner.className = 'unreachable'
  banner.setAttribute('role', 'alert')
  banner.textContent = 'This page is not reachable. It tries again by itself; the numbers are old.'
  document.body.append(banner)
}

/** Reads the page again, and shows what has changed. */
export const refresh = async () => {
  if (isReading) return
  isReading = true
  clearTimeout(timer)
  const url = location.href
  try {
    const next = await read(url)
    if (location.href !== url) return
    const focused = document.activeElement
    document.title = next.title
    for (const selector of ['.bar', '.sections', '#main']) {
      const [from, to] = [document, next].map((one) => one.querySelector(selector))
      if (from && to) morph(from, to)
    }
    if (next.body.dataset.refresh) document.body.dataset.refresh = next.body.dataset.refresh
    else delete document.body.dataset.refresh
    if (focused && focused !== document.body && !focused.isConnected) document.querySelector('#main').focus()
    unreachable(false)
    document.dispatchEvent(new CustomEvent('refreshed'))
  } catch { unreachable(true) }
  finally { isReading = false; plan() }
}

const plan = () => {
  clearTimeout(timer)
  const seconds = banner ? 2 : Number(document.body.dataset.refresh)
  if (seconds > 0 && !document.hidden) timer = setTimeout(refresh, seconds * 1000)
}
document.addEventListener('visibilitychange', () => document.hidden ? clearTimeout(timer) : document.body.dataset.refresh && refresh())
plan()

document.querySelector('.sections [aria-current]')?.scrollIntoView({ inline: 'center', block: 'nearest' })

const rows = () => [...document.querySelectorAll('main [data-row] a[href]')].filter((link, index, all) =>
  all.findIndex((one) => one.closest('[data-row]') === link.closest('[data-row]')) === index)

const step = (by) => {
  const all = rows()
  const now = all.findIndex((link) => link.closest('[data-row]').contains(document.activeElement))
  all[Math.min(all.length - 1, Math.max(0, now < 0 ? (by > 0 ? 0 : all.length - 1) : now + by))]?.focus()
}

let isGoing = 0
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return
  const { key } = event
  const isTyping = event.target.closest?.('input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]')
  if (isTyping) { if (key === 'Escape') event.target.blur(); return }
  const dialog = document.querySelector('#keys')
  if (dialog?.open && key !== '?') return
  if (isGoing > Date.now() - 1500) {
    isGoing = 0
    const link = document.querySelector('.sections a[data-key="' + CSS.escape(key) + '"]')
    if (link) { event.preventDefault(); link.click() }
    return
  }
  if (key === 'g') { isGoing = Date.now(); return }
  if (key === '/') {
    const field = document.querySelector('main input[type=search], .search input')
    if (field) { event.preventDefault(); field.focus(); field.select() }
  } else if (key === 'j') step(1)
  else if (key === 'k') step(-1)
  else if (key === 'x') event.target.closest?.('[data-row]')?.querySelector('input[type=checkbox]')?.click()
  else if (key === '?' && dialog) dialog.open ? dialog.close() : dialog.showModal()
})
document.addEventListener('click', (event) => {
  const opener = event.target.closest?.('[data-opens]')
  if (opener) document.getElementById(opener.dataset.opens)?.showModal()
})
`
