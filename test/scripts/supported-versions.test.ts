import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { chooseVersions, testedVersions } from '../../scripts/supported-versions.ts'

const namesOf = (args: readonly string[]) =>
  chooseVersions(args).map(({ name, version }) => `${name}=${version}`)

it('chooses all versions without arguments, and otherwise those that the arguments name', () => {
  expect(chooseVersions([])).toEqual(testedVersions)
  expect(namesOf(['node=22', 'redis'])).toEqual(['redis=6.2', 'redis=7.0', 'redis=8.0', 'node=22'])
})

it('refuses an argument that names no version', () => {
  expect(() => chooseVersions(['redis=8.0', 'redis=5'])).toThrow(
    /^redis=5 is not one of redis=6.2, redis=7.0, redis=8.0/,
  )
})

it('runs every version that the README lists', () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const table = /^## Supported versions\n([\s\S]*?)^## /m.exec(readme)?.[1] ?? ''
  const labels = {
    redis: 'Redis',
    valkey: 'Valkey',
    rabbitmq: 'RabbitMQ',
    kafka: 'Apache Kafka',
    postgres: 'PostgreSQL',
    node: 'Node.js',
  }
  for (const { name, version } of testedVersions) {
    const row = table.split('\n').find((line) => line.startsWith(`| ${labels[name]} `))
    expect(row, `${name}=${version}`).toContain(version)
  }
})
