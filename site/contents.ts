/** A group of pages in the navigation. */
export interface PageGroup {
  readonly title: string
  /** Names in docs/, without `.md`, and the titles in the navigation. */
  readonly pages: readonly (readonly [name: string, title: string])[]
}

/** Every page of docs/. A test fails if one is missing. */
export const CONTENTS: readonly PageGroup[] = [
  {
    title: 'Start',
    pages: [
      ['first-steps', 'First steps'],
      ['tutorial', 'Tutorial: a handler that fails'],
      ['how-do-i', 'How do I ...'],
    ],
  },
  {
    title: 'Events and handlers',
    pages: [
      ['events', 'Events'],
      ['evolving-events', 'Changing events'],
      ['handlers', 'Handlers'],
      ['failure', 'Failure of handlers'],
      ['ordering', 'Order across workers'],
      ['exactly-once', 'Effects exactly once'],
      ['testing', 'Testing'],
    ],
  },
  {
    title: 'Event sourcing',
    pages: [
      ['event-store', 'Event store and aggregates'],
      ['subscriptions', 'Subscriptions'],
      ['sqlite', 'SQLite'],
      ['postgres', 'PostgreSQL'],
    ],
  },
  {
    title: 'Brokers',
    pages: [
      ['redis', 'Redis'],
      ['rabbitmq', 'RabbitMQ'],
      ['kafka', 'Kafka'],
      ['moving', 'Moving between brokers'],
      ['writing-a-transport', 'Writing a transport'],
      ['writing-a-store', 'Writing a store'],
    ],
  },
  {
    title: 'Operation',
    pages: [
      ['operating', 'Operating, by symptom'],
      ['dead-letters', 'Dead letters'],
      ['operator-page', "The operator's page"],
      ['observability', 'Observability'],
      ['reliability', 'Reliability'],
      ['benchmarks', 'Benchmarks'],
    ],
  },
  {
    title: 'Reference',
    pages: [
      ['options', 'Options'],
      ['operator-api', "The operator's API"],
      ['command-line', 'Command line'],
      ['flags', 'Commands and their flags'],
      ['errors', 'Errors'],
      ['settings', 'Settings of other tools'],
      ['from-python', 'From eventsource-py'],
      ['architecture', 'Architecture'],
    ],
  },
]

/** The folders of the reference, one for each entry point of the package. */
export const ENTRY_POINTS: readonly string[] = [
  'index',
  'kafka',
  'memory',
  'operator',
  'postgres',
  'rabbitmq',
  'redis',
  'sqlite',
  'testing',
]
