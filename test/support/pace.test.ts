import { expect, it, onTestFinished, vi } from 'vitest'
import { measurePace, paced } from './pace.ts'

it('stretches limits by the pace of the machine', () => {
  vi.stubEnv('EVENTSPINE_TEST_PACE', '2.5')
  onTestFinished(() => void vi.unstubAllEnvs())

  expect(paced(1000)).toBe(2500)
})

it('treats no machine as faster than the reference', async () => {
  vi.stubEnv('EVENTSPINE_TEST_PACE', undefined)
  onTestFinished(() => void vi.unstubAllEnvs())

  await measurePace()

  expect(paced(1000)).toBeGreaterThanOrEqual(1000)
})
