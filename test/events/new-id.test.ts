import { describe, expect, it } from 'vitest'
import { newId } from '../../src/events/new-id.ts'

/** More than the ids that one filling of the pool is enough for. */
const COUNT = 5000

describe('newId', () => {
  it('returns UUIDs of version 4, each once', () => {
    const ids = Array.from({ length: COUNT }, newId)

    for (const id of ids)
      expect(id).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/)
    expect(new Set(ids).size).toBe(COUNT)
  })

  it('uses every digit at every place that the version and the variant leave free', () => {
    const ids = Array.from({ length: COUNT }, newId)

    const free = Array.from({ length: 36 }, (_, place) => place).filter(
      (place) => ![8, 13, 14, 18, 19, 23].includes(place),
    )
    for (const place of free) expect(new Set(ids.map((id) => id[place])).size).toBe(16)
    expect(new Set(ids.map((id) => id[19]))).toEqual(new Set('89ab'))
  })
})
