import { expect, it } from 'vitest'
import { PrefetchWindow, type Replacement } from '../../../src/rabbitmq/consuming/prefetch-window.ts'

function windowOf(maxBytes: number, replacement: Replacement = 'returning') {
  const intake = { roomBytes: maxBytes }
  return { intake, window: new PrefetchWindow({ room: intake, maxPrefetch: 100, maxBytes, replacement }) }
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
  for (let count = 0; count < 2; count += 1) window.note(100)
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

it('expects a mebibyte per message if its consumer cannot be replaced, and reports that it is limited', () => {
  expect(windowOf(8 * 1_048_576, 'never').window).toMatchObject({ prefetch: 8, isLimited: true })
  expect(windowOf(1, 'never').window.prefetch).toBe(1)
  expect(windowOf(Number.POSITIVE_INFINITY, 'never').window).toMatchObject({
    prefetch: 100,
    isLimited: false,
  })
})

it('expects a mebibyte per message if none can be returned, until it has seen as many as its consumer gets', () => {
  const { window } = windowOf(8 * 1_048_576, 'full')
  expect(window).toMatchObject({ prefetch: 8, isLimited: false })
  for (let count = 0; count < 7; count += 1) window.note(1000)
  expect(window.isNarrow).toBe(false)
  window.note(1000)
  expect(window.isNarrow).toBe(true)
  window.adjust()
  expect(window).toMatchObject({ prefetch: 100, isNarrow: false, isWide: false })
})

it('is wide if none can be returned and one message is too large for as many as its consumer gets', () => {
  const { window, intake } = windowOf(8 * 1_048_576, 'full')
  window.note(2 * 1_048_576)
  expect(window.isWide).toBe(true)
  intake.roomBytes = 4 * 1_048_576
  window.adjust()
  expect(window).toMatchObject({ prefetch: 2, isWide: false })
})
