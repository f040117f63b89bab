import { UNSEEN } from '../../html.ts'

/** The part of the module for live events. It makes elements and texts, and no markup. */
export const liveScript = `
const live = document.querySelector('[data-live]')
if (live) {
  const MAX_ROWS = 100
  const part = (name) => document.querySelector('[data-part="' + name + '"]')
  const rows = live.querySelector('tbody')
  const button = part('pause')
  let source
  let shown = 0
  let seen = 0
  let recent = []

  const cell = (label, kind, content) => {
    const one = document.createElement('td')
    one.setAttribute('role', 'cell')
    if (kind) one.className = kind
    if (label) one.dataset.label = label
    one.append(content ?? '–')
    return one
  }
  const text = (value) => {
    const one = document.createElement('bdi')
    one.textContent = (value ?? '–').replace(/${UNSEEN.source}/g, (found) => '\\\\u' + found.charCodeAt(0).toString(16).padStart(4, '0'))
    return one
  }
  const rowOf = ({ id, type, aggregate, at, isStored, payload }) => {
    const row = document.createElement('tr')
    row.setAttribute('role', 'row')
    row.dataset.row = ''
    const name = document.createElement(id ? 'a' : 'span')
    if (id) {
      const query = new URLSearchParams()
      if (aggregate && !aggregate.endsWith('…')) query.set('aggregate', aggregate)
      if (at && isStored) query.set('at', at)
      name.href = live.dataset.events + '/' + encodeURIComponent(id.toWellFormed()) + (query.size ? '?' + query : '')
    }
    name.append(text(type ?? 'Not an event'))
    row.append(cell('', 'main', name), cell('Time', 'narrow', at ? new Date(at).toISOString().slice(11, 23) : '–'), cell('Aggregate', '', text(aggregate)))
    if ('payload' in live.dataset) row.append(cell('Payload', 'wide payload', text(payload)))
    return row
  }
  const count = (value) => value.toLocaleString('en-US')
  const say = (state) => {
    part('state').textContent = state
    part('state').dataset.state = state
  }

  // The events of each of the last 60 seconds.
  const seconds = Array(60).fill(0)
  const draw = () => {
    const most = Math.max(1, ...seconds)
    const line = 'M' + seconds.map((n, x) => (x * 120 / 59).toFixed(1) + ' ' + (26 - 24 * n / most).toFixed(1)).join('L')
    part('line').setAttribute('d', line)
    part('area').setAttribute('d', line + 'V26H0Z')
  }
  setInterval(() => {
    draw()
    seconds.shift()
    seconds.push(0)
  }, 1000)

  const show = ({ seen: all, fresh, dropped, events }) => {
    const now = performance.now()
    recent = [...recent.filter(({ at }) => now - at < 3000), { at: now, fresh }]
    seen = all
    seconds[59] += fresh
    shown += events.length
    const rate = Math.round(recent.reduce((sum, one) => sum + one.fresh, 0) / 3)
    say('running')
    part('seen').textContent = count(seen) + ' seen, ' + count(rate) + '/s'
    const isSampled = events.length < fresh
    part('sampled').textContent = isSampled ? 'sampled: ' + count(events.length) + ' of ' + count(fresh) + ' are shown' : ''
    part('dropped').textContent = dropped > 0 ? count(dropped) + ' were too fast for this page, and are not shown' : ''
    // A row that has the focus stays.
    for (const event of events.slice(-MAX_ROWS)) rows.prepend(rowOf(event))
    while (rows.children.length > MAX_ROWS) {
      const last = rows.lastElementChild
      ;(last.contains(document.activeElement) ? last.previousElementSibling : last).remove()
    }
  }

  const open = () => {
    source = new EventSource(live.dataset.live)
    source.onopen = () => say('running')
    source.onmessage = ({ data }) => show(JSON.parse(data))
    source.addEventListener('problem', ({ data }) => say('the broker does not answer: ' + JSON.parse(data)))
    source.onerror = () => {
      say(source.readyState === EventSource.CLOSED ? 'not possible now: too many viewers, or no role' : 'connecting')
    }
    button.textContent = 'Pause'
  }
  const close = () => { source.close(); source = undefined; say('paused: nothing is read'); button.textContent = 'Go on' }
  button.addEventListener('click', () => source ? close() : open())
  open()
}
`
