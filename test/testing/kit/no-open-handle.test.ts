import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const sources = new URL('../../../src/', import.meta.url).href

it('leaves no open handle behind, also after retries that its clock has skipped', async () => {
  const program = `
    import { setImmediate as nextTurn } from 'node:timers/promises'
    const { defineEvent } = await import('${sources}index.ts')
    const { TestBus } = await import('${sources}testing/index.ts')
    const Noted = class extends defineEvent()({ type: 'Noted', aggregateType: 'Note' }) {}
    const kit = await TestBus.start((bus) =>
      bus.subscribe(Noted, (event, { attempt }) => {
        if (attempt < 3) throw new Error('planned')
      }, { name: 'noted' }))
    const run = await kit.publish(new Noted({ aggregateId: 'a' }))
    run.expectHandled('noted')
    await kit.stop()
    await nextTurn()
    const streams = ['PipeWrap', 'TTYWrap']
    console.log(JSON.stringify(process.getActiveResourcesInfo().filter((name) => !streams.includes(name))))`

  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program])

  expect(JSON.parse(stdout)).toEqual([])
})
