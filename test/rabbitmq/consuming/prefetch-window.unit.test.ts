import { expect, it } from 'vitest'
import { PrefetchWindow } from '../../../src/rabbitmq/consuming/prefetch-window.ts'

function windowOf(maxBytes: number, isAdjustable = true) {
  const intake = { roomBytes: maxBytes }
  return { intake, window: new PrefetchWindow({ intake, maxPrefetch: 100, maxBytes, isAdjustable }) }
}

it('starts with the configured prefetch', () => {
  expect(windowOf(1000).window).toMatchObject({ prefetch: 100, isNarrow: false })
})

it('becomes as narrow as the largest recent message needs, but lets one message through', () => {
  const { window, intake } = windowOf(1000)
  window.note(90)
  window.note(30)
  window.adjust()
  expect(window.prefetch).toBe(11)
  intake.roomBytes = 50
  window.adjust()
  expect(window.prefetch).toBe(1)
})

it('is narrow once there is room for twice its messages', () => {
  const { window, intake } = windowOf(1000)
  window.note(100)
  intake.roomBytes = 200
  window.adjust()
  expect(window).toMatchObject({ prefetch: 2, isNarrow: false })
  intake.roomBytes = 399
  expect(window.isNarrow).toBe(false)
  intake.roomBytes = 400
  expect(window.isNarrow).toBe(true)
  window.adjust()
  expect(window).toMatchObject({ prefetch: 4, isNarrow: false })
})

it('forgets the size of messages that are long past', () => {
  const { window } = windowOf(1000)
  window.note(500)
  window.adjust()
  expect(window.prefetch).toBe(2)
  for (let count = 0; count < 2000; count += 1) window.note(1)
  expect(window.isNarrow).toBe(true)
  window.adjust()
  expect(window.prefetch).toBe(100)
})

it('expects a mebibyte per message if its consumer cannot be replaced', () => {
  expect(windowOf(8 * 1_048_576, false).window.prefetch).toBe(8)
  expect(windowOf(1, false).window.prefetch).toBe(1)
  expect(windowOf(Number.POSITIVE_INFINITY, false).window.prefetch).toBe(100)
})
