import {
  conflictDefaults,
  conflictRules,
  repositoryRules,
} from '../../src/aggregates/aggregate-repository.ts'
import { snapshotDefaults, snapshotRules } from '../../src/aggregates/snapshot-policy.ts'
import { brokerDefaults, brokerRules } from '../../src/bus/broker-options.ts'
import { replayDefaults, replayRules } from '../../src/bus/dead-letters/queue-options.ts'
import { healthDefaults, healthRules } from '../../src/bus/health.ts'
import { inMemoryDefaults, inMemoryRules } from '../../src/bus/in-memory-options.ts'
import { defaultBodyLimits } from '../../src/codec/hostile-json.ts'
import { policyRules } from '../../src/handling/handler-policy.ts'
import { longWaitDefaults, longWaitRules } from '../../src/handling/long-waits.ts'
import { outageGuardDefaults, outageGuardRules } from '../../src/handling/outage-guard.ts'
import { kafkaDefaults, kafkaRules } from '../../src/kafka/options.ts'
import { type OptionRule, positiveIntegerOrInfinity } from '../../src/kit/options.ts'
import { postgresDefaults, postgresRules } from '../../src/postgres/options.ts'
import { rabbitmqDefaults, rabbitmqRules } from '../../src/rabbitmq/options.ts'
import { redisInboxDefaults, redisInboxRules } from '../../src/redis/inbox.ts'
import { redisDefaults, redisRules } from '../../src/redis/options.ts'
import { sqliteDefaults, sqliteRules } from '../../src/sqlite/options.ts'
import { managerDefaults, managerRules } from '../../src/subscriptions/manager-options.ts'
import { relayDefaults } from '../../src/subscriptions/relay.ts'
import { subscriptionDefaults, subscriptionRules } from '../../src/subscriptions/subscription-options.ts'
import { type Member, membersOf } from './interfaces.ts'
import { type OptionRow, optionRow } from './option-row.ts'
import { table } from './tables.ts'

type Rules = Readonly<Record<string, OptionRule>>

/** The options of one interface. */
interface Section {
  readonly title: string
  readonly intro: string
  readonly from: readonly [path: string, name: string][]
  readonly rules: Rules
  readonly defaults: object
  /** Options in `rules` that another section lists. */
  readonly listedElsewhere?: Rules
}

const SECTIONS: readonly Section[] = [
  {
    title: 'InMemoryEventBus',
    intro: 'All options of the bus in memory.',
    from: [['src/bus/in-memory-options.ts', 'InMemoryEventBusOptions']],
    rules: inMemoryRules,
    defaults: inMemoryDefaults,
    listedElsewhere: brokerRules,
  },
  {
    title: 'RedisEventBus',
    intro: 'In addition to the options of all buses. [redis.md](redis.md) describes the bus.',
    from: [
      ['src/redis/options.ts', 'RedisEventBusOptions'],
      ['src/bus/partition-options.ts', 'PartitionOptions'],
    ],
    rules: redisRules,
    defaults: redisDefaults,
    listedElsewhere: brokerRules,
  },
  {
    title: 'RabbitMQEventBus',
    intro: 'In addition to the options of all buses. [rabbitmq.md](rabbitmq.md) describes the bus.',
    from: [
      ['src/rabbitmq/options.ts', 'RabbitMQEventBusOptions'],
      ['src/bus/partition-options.ts', 'PartitionOptions'],
    ],
    rules: rabbitmqRules,
    defaults: rabbitmqDefaults,
    listedElsewhere: brokerRules,
  },
  {
    title: 'KafkaEventBus',
    intro: 'In addition to the options of all buses. [kafka.md](kafka.md) describes the bus.',
    from: [
      ['src/kafka/options.ts', 'KafkaEventBusOptions'],
      ['src/kafka/client/security.ts', 'KafkaSecurityOptions'],
    ],
    rules: kafkaRules,
    defaults: kafkaDefaults,
    listedElsewhere: brokerRules,
  },
  {
    title: 'subscribe',
    intro:
      'Options of one handler: the last argument of `bus.subscribe`, and fields of a handler object. [failure.md](failure.md) describes them. An option that is absent has the value of the bus.',
    from: [['src/handling/handler-policy.ts', 'HandlerPolicy']],
    rules: policyRules,
    defaults: {},
  },
  {
    title: 'outageGuard',
    intro: 'Limits of `outageGuard`, an option of `subscribe`.',
    from: [['src/handling/outage-guard.ts', 'OutageGuardOptions']],
    rules: outageGuardRules,
    defaults: outageGuardDefaults,
  },
  {
    title: 'longWaits',
    intro: '`longWaits` is an option of `subscribe`; see [failure.md](failure.md#long-waits).',
    from: [['src/handling/long-waits.ts', 'LongWaitOptions']],
    rules: longWaitRules,
    defaults: longWaitDefaults,
  },
  {
    title: 'deadLetters.replayAll',
    intro:
      '`handlers`, `group`, `by` and `why` are options of `deadLetters.replay` and `replayEdited`, too, and all but `handlers` ' +
      'and `group` of `purge` and `archive`.',
    from: [
      ['src/bus/dead-letters/queue-options.ts', 'DeadLetterReplayOptions'],
      ['src/bus/dead-letters/bulk-options.ts', 'BulkOptions'],
      ['src/bus/audit.ts', 'Actor'],
    ],
    rules: replayRules,
    defaults: replayDefaults,
  },
  {
    title: 'health',
    intro: 'Options of `bus.health`. [observability.md](observability.md#health) describes the checks.',
    from: [['src/bus/health.ts', 'HealthOptions']],
    rules: healthRules,
    defaults: healthDefaults,
  },
  {
    title: 'JsonCodec',
    intro: 'Limits of `JsonCodec` and `CloudEventsCodec` for one message. Infinity means no limit.',
    from: [
      ['src/codec/hostile-json.ts', 'BodyLimits'],
      ['src/codec/json-budget.ts', 'StructureLimits'],
    ],
    rules: Object.fromEntries(
      Object.keys(defaultBodyLimits).map((name) => [name, positiveIntegerOrInfinity]),
    ),
    defaults: defaultBodyLimits,
  },
  {
    title: 'SubscriptionManager',
    intro: '[subscriptions.md](subscriptions.md) describes the manager.',
    from: [['src/subscriptions/manager-options.ts', 'SubscriptionManagerOptions']],
    rules: managerRules,
    defaults: managerDefaults,
  },
  {
    title: 'manager.subscribe',
    intro: `Options of one subscription. A relay has the same options; its defaults differ in ${Object.entries(
      relayDefaults,
    )
      .map(([name, value]) => `\`${name}\` (${value})`)
      .join(' and ')}.`,
    from: [['src/subscriptions/subscription-options.ts', 'SubscriptionOptions']],
    rules: subscriptionRules,
    defaults: subscriptionDefaults,
  },
  {
    title: 'AggregateRepository',
    intro: '[event-store.md](event-store.md) describes the repository.',
    from: [['src/aggregates/aggregate-repository.ts', 'AggregateRepositoryOptions']],
    rules: repositoryRules,
    defaults: {},
  },
  {
    title: 'snapshots',
    intro: 'Options of `snapshots`, an option of `AggregateRepository`.',
    from: [['src/aggregates/snapshot-policy.ts', 'SnapshotOptions']],
    rules: snapshotRules,
    defaults: snapshotDefaults,
  },
  {
    title: 'retryOnConflict',
    intro: 'Options of `repository.retryOnConflict`.',
    from: [['src/aggregates/aggregate-repository.ts', 'RetryOnConflictOptions']],
    rules: conflictRules,
    defaults: conflictDefaults,
  },
  {
    title: 'SqliteStores',
    intro: '[sqlite.md](sqlite.md) describes the stores.',
    from: [['src/sqlite/options.ts', 'SqliteStoresOptions']],
    rules: sqliteRules,
    defaults: sqliteDefaults,
  },
  {
    title: 'PostgresStores',
    intro: '[postgres.md](postgres.md) describes the stores.',
    from: [['src/postgres/options.ts', 'PostgresStoresOptions']],
    rules: postgresRules,
    defaults: postgresDefaults,
  },
  {
    title: 'RedisInbox',
    intro: '[exactly-once.md](exactly-once.md#effects-in-redis) describes the inbox.',
    from: [['src/redis/inbox.ts', 'RedisInboxOptions']],
    rules: redisInboxRules,
    defaults: redisInboxDefaults,
  },
]

const HEAD = `# Options

Every option, with its default and the values that it accepts. \`npm run docs:reference\` generates this page from the source, and a test fails if the page is stale.

A class checks its options when it is constructed. A \`ConfigError\` lists every unknown option and every value that a rule refuses. An option that is \`undefined\` or \`null\` has its default. Durations are in milliseconds.
`

/** The text of docs/options.md. @throws Error if an interface and its rules have different options. */
export function optionsPage(): string {
  const links = ['All buses', ...SECTIONS.map(({ title }) => title)].map(
    (title) => `- [${title}](#${title.toLowerCase().replaceAll(' ', '-').replaceAll('.', '')})`,
  )
  return `${[HEAD, links.join('\n'), '', sharedSection(), ...SECTIONS.map(sectionText)].join('\n')}`
}

function sharedSection(): string {
  const inMemory: Rules = inMemoryRules
  const rows = rowsOf(membersOf('src/bus/broker-options.ts', 'BrokerOptions'), brokerRules, brokerDefaults)
  return `## All buses

\`InMemoryEventBus\` has the options with "all" in the last column; the others are options of the broker buses, and of \`MemoryBrokerEventBus\` in \`eventspine/testing\`. \`createEventBus\` accepts all of them for every URL.

${table(
  ['option', 'type', 'unit', 'default', 'must be', 'meaning', 'on'],
  rows.map((row) => [
    ...cellsOf(row),
    row.name.replaceAll('`', '') in inMemory ? 'all' : 'Redis, RabbitMQ, Kafka',
  ]),
)}
`
}

function sectionText({ title, intro, from, rules, defaults, listedElsewhere = {} }: Section): string {
  const members = from.flatMap(([path, name]) => membersOf(path, name))
  const own = Object.keys(rules).filter((name) => !Object.hasOwn(listedElsewhere, name))
  const listed = new Set(members.map(({ name }) => name))
  const missing = own.filter((name) => !listed.has(name))
  if (missing.length > 0) throw new Error(`${title}: no interface declares ${missing.join(', ')}`)
  const rows = rowsOf(members, rules, defaults)
  const columns = ['option', 'type', 'unit', 'default', 'must be', 'meaning']
  return `## ${title}\n\n${intro}\n\n${table(columns, rows.map(cellsOf))}\n`
}

function rowsOf(members: readonly Member[], rules: Rules, defaults: object): readonly OptionRow[] {
  return members.map((member) => {
    const rule = rules[member.name]
    if (rule === undefined) throw new Error(`${member.name} has no rule`)
    return optionRow(member, rule, Reflect.get(defaults, member.name))
  })
}

function cellsOf(row: OptionRow): readonly string[] {
  return [row.name, row.type, row.unit, row.default, row.rule, row.meaning]
}
