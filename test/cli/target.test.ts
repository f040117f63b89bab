import { expect, it } from 'vitest'
import { placeOf } from '../../src/cli/target.ts'

it.each([
  [{ name: 'orders', url: 'redis://localhost' }, 'on orders'],
  [{ name: undefined, url: 'memory:' }, 'in this process'],
  [{ name: undefined, url: 'redis://localhost' }, 'under the default prefix (--prefix names another)'],
  [{ name: undefined, url: 'redis://localhost', options: { prefix: 'shop' } }, 'under the prefix shop'],
])('the place of %o is %s', (target, place) => {
  expect(placeOf(target)).toBe(place)
})
