import { expect, it } from 'vitest'
import { paced } from '../support/pace.ts'
import { checkFeed } from './feed-check/run.ts'

const short = { writers: 3, events: 3000, writerKills: 1, serverKills: 1, isNaive: false }

it('loses and repeats nothing while writers and the server are killed', {
  timeout: paced(240_000),
}, async () => {
  const { faults, stored, resumptions } = await checkFeed(short)

  expect(faults).toEqual([])
  expect(stored).toBeGreaterThan(2000)
  expect(resumptions).toBeGreaterThan(0)
})

it('detects a feed that relies on the sequence alone', { timeout: paced(240_000) }, async () => {
  const { faults } = await checkFeed({ ...short, writerKills: 0, serverKills: 0, isNaive: true })

  expect(faults.join('\n')).toMatch(/lost \d+ of \d+ events/)
})
