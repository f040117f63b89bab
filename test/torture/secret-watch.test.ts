import { expect, it } from 'vitest'
import { CANARY, SecretWatch } from './secret-watch.ts'

it('finds the password in sentences, fields, causes and hidden fields, in base64, too', () => {
  const found: string[] = []
  const watch = new SecretWatch((what) => found.push(what))
  const inside = new Error('outer', { cause: new Error(`AUTH ${CANARY}`) })

  watch.logger.info('plain', { url: 'redis://***@host' })
  watch.logger.warn(`got ${CANARY}`)
  watch.logger.debug('field', { options: { deep: { password: CANARY } } })
  watch.look('error', inside)
  watch.look('hidden', Object.defineProperty({}, 'password', { value: CANARY }))
  watch.look('base64', Buffer.from(CANARY).toString('base64'))

  expect(found).toEqual([`log line "got ${CANARY}"`, 'log line "field"', 'error', 'hidden', 'base64'])
})
