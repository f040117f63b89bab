/** A version of a server or of Node.js that `npm run test:versions` runs the tests on. */
export interface TestedVersion {
  readonly name: 'redis' | 'valkey' | 'rabbitmq' | 'kafka' | 'postgres' | 'node'
  readonly version: string
  /** The Debian release that the server comes from. */
  readonly debian?: 12 | 13
}

/** The oldest and the newest version of each server, and each release line of Node.js. */
export const testedVersions: readonly TestedVersion[] = [
  { name: 'redis', version: '7.0', debian: 12 },
  { name: 'redis', version: '8.0', debian: 13 },
  { name: 'valkey', version: '8.1', debian: 13 },
  { name: 'rabbitmq', version: '3.10', debian: 12 },
  { name: 'rabbitmq', version: '4.0', debian: 13 },
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
