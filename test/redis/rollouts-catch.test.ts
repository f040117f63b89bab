import { expect, it } from 'vitest'
import { describeEventBus, type SuiteRunner } from '../../src/testing/index.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { paced } from '../support/pace.ts'
import { create } from './conformance-bus.ts'

const NAME = 'handles every event while releases replace each other, forward and back'

it('catches a release that forgets an upcast', async () => {
  const { url } = await launchBroker('redis')
  process.env['EVENTSPINE_TEST_REDIS_URL'] = url
  const tests = new Map<string, () => Promise<void>>()
  const runner: SuiteRunner = {
    describe: (_name, body) => body(),
    it: Object.assign((name: string, body: () => Promise<void>) => void tests.set(name, body), {
      skip: () => undefined,
    }),
  }
  const module = new URL('./forgetful-bus.ts', import.meta.url)
  describeEventBus('forgetful', { runner, create, module, waitMs: paced(4000) })

  await expect(tests.get(NAME)?.()).rejects.toThrow(/all published events to be handled[\s\S]*undefined/)
})
