import { expect, it } from 'vitest'
import { freePort } from '../brokers/free-port.ts'
import { service } from './service.ts'

const ESCAPE = '\u001B['

it('writes colors only to a terminal, unless the environment asks for them', async () => {
  const url = `redis://127.0.0.1:${await freePort()}`
  const doctor = async (environment: Record<string, string>) => {
    const { code, stdout } = await service(environment).run('doctor', url)
    expect(code).toBe(3)
    return stdout.includes(ESCAPE)
  }
  expect(await doctor({ FORCE_COLOR: '', NO_COLOR: '' })).toBe(false)
  expect(await doctor({ FORCE_COLOR: '1', NO_COLOR: '' })).toBe(true)
  expect(await doctor({ FORCE_COLOR: '1', NO_COLOR: '1' })).toBe(false)
})

it('writes data and nothing else to stdout', async () => {
  const { run: command } = service()
  await command('migrate', 'sqlite:shop.db')
  for (const words of [['subscriptions'], ['events'], ['tail', '--for', '1s']]) {
    const { stdout } = await command(...words, 'sqlite:shop.db', '--json')
    for (const line of stdout.split('\n')) if (line !== '') expect(JSON.parse(line)).toBeTypeOf('object')
  }
})
