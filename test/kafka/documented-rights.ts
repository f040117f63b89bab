import { readFileSync } from 'node:fs'
import type { KafkaEventBusOptions } from '../../src/kafka/index.ts'
import type { LaunchOptions } from '../brokers/broker.ts'
import { administer } from './plain-kafka.ts'

const TYPES = { topic: 2, group: 3 } as const
const PATTERNS = { named: 3, prefixed: 4 } as const
const OPERATIONS: Readonly<Record<string, number>> = { Read: 3, Write: 4, Create: 5, Delete: 6, Describe: 8 }
const PASSWORD = 's3cret'

/** A row of the table in docs/kafka.md. */
export interface DocumentedRight {
  readonly role: string
  readonly type: keyof typeof TYPES
  readonly pattern: keyof typeof PATTERNS
  /** With `{topicPrefix}` or `{consumerGroup}`. */
  readonly name: string
  readonly operations: readonly string[]
}

const page = readFileSync(new URL('../../docs/kafka.md', import.meta.url), 'utf8')
const ROW = /^\| ([^|]+) \| (topics?|group) (?:named|that start with) `([^`]+)` \| ([A-Za-z, ]+) \|$/gm

export const DOCUMENTED_RIGHTS: readonly DocumentedRight[] = [...page.matchAll(ROW)].map(
  ([, role = '', type = '', name = '', operations = '']) => ({
    role,
    type: type === 'group' ? 'group' : 'topic',
    pattern: type === 'topics' ? 'prefixed' : 'named',
    name,
    operations: operations.split(', '),
  }),
)

/** Anonymous clients have all rights on this broker. The users have none before they are granted some. */
export function withUsers(port: number, ...users: readonly string[]): LaunchOptions {
  const passwords = users.map((user) => `user_${user}="${PASSWORD}"`).join(' ')
  const login = `org.apache.kafka.common.security.plain.PlainLoginModule required ${passwords};`
  return {
    listeners: [{ name: 'PASSWORD', protocol: 'SASL_PLAINTEXT', port }],
    config: [
      'sasl.enabled.mechanisms=PLAIN',
      `listener.name.password.plain.sasl.jaas.config=${login}`,
      'authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'super.users=User:ANONYMOUS',
    ],
  }
}

/** The options with which a bus logs in as one of the users. */
export function as(user: string) {
  return {
    securityProtocol: 'SASL_PLAINTEXT',
    saslMechanism: 'PLAIN',
    saslUsername: user,
    saslPassword: PASSWORD,
  } as const satisfies KafkaEventBusOptions
}

/** Grants a user the rights, with these names in the place of the placeholders. */
export async function grantRights(
  server: string,
  user: string,
  rights: readonly DocumentedRight[],
  names: { readonly topicPrefix: string; readonly consumerGroup: string },
): Promise<void> {
  const creations = rights.flatMap(({ type, pattern, name, operations }) =>
    operations.map((operation) => ({
      resourceType: TYPES[type],
      resourceName: name
        .replace('{topicPrefix}', names.topicPrefix)
        .replace('{consumerGroup}', names.consumerGroup),
      resourcePatternType: PATTERNS[pattern],
      principal: `User:${user}`,
      host: '*',
      operation: OPERATIONS[operation],
      permissionType: 3,
    })),
  )
  await administer(server, (admin) => admin.createAcls({ creations }))
}
