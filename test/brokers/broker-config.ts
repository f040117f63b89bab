/** Options of every test Redis, in a container or not: no writes are lost, and no snapshot interferes. */
export const redisConfig = ['appendonly yes', 'appendfsync everysec', 'save ""'] as const

/**
 * Options of every test PostgreSQL. Without fsync a test takes a third of the time. A kill of the server still loses no
 * committed data; only a power cut would.
 */
export const postgresConfig = [
  'fsync = off',
  'max_connections = 300',
  'max_prepared_transactions = 10',
  'shared_buffers = 64MB',
] as const

/** The plugins of every test RabbitMQ. Partitions need this one. */
export const rabbitMqPlugins = ['rabbitmq_consistent_hash_exchange'] as const

/** An additional listener of a Kafka broker, on its own port. */
export interface KafkaListener {
  /** Letters and digits. Settings for this listener alone start with `listener.name.<name in lower case>.`. */
  readonly name: string
  readonly protocol: 'PLAINTEXT' | 'SSL' | 'SASL_PLAINTEXT' | 'SASL_SSL'
  readonly port: number
  /** Where the broker says that clients reach it. Default: at this port. */
  readonly advertised?: string
}

/** One Kafka node that is both broker and controller, with every internal topic sized for one node. */
export function kafkaConfig(node: {
  readonly bindHost: string
  readonly port: number
  readonly controllerPort: number
  readonly dataFolder: string
  readonly listeners: readonly KafkaListener[]
}): readonly string[] {
  const { bindHost, port, controllerPort, dataFolder } = node
  const clients: readonly KafkaListener[] = [
    { name: 'PLAINTEXT', protocol: 'PLAINTEXT', port },
    ...node.listeners,
  ]
  const bound = [...clients, { name: 'CONTROLLER', protocol: 'PLAINTEXT', port: controllerPort }]
  return [
    'process.roles=broker,controller',
    'node.id=1',
    `controller.quorum.voters=1@127.0.0.1:${controllerPort}`,
    'controller.listener.names=CONTROLLER',
    'inter.broker.listener.name=PLAINTEXT',
    `listeners=${bound.map(({ name, port }) => `${name}://${bindHost}:${port}`).join()}`,
    `advertised.listeners=${clients.map(advertisedAs).join()}`,
    `listener.security.protocol.map=${bound.map(({ name, protocol }) => `${name}:${protocol}`).join()}`,
    `log.dirs=${dataFolder}`,
    'num.partitions=3',
    'auto.create.topics.enable=false',
    'group.initial.rebalance.delay.ms=0',
    // KIP-848 members learn of a rebalance with their next heartbeat; the broker sets its interval.
    'group.consumer.min.heartbeat.interval.ms=200',
    'group.consumer.heartbeat.interval.ms=200',
    'offsets.topic.num.partitions=4',
    'offsets.topic.replication.factor=1',
    'transaction.state.log.num.partitions=4',
    'transaction.state.log.replication.factor=1',
    'transaction.state.log.min.isr=1',
    // After a kill the controller admits the broker only when the session of the killed process has expired.
    'broker.session.timeout.ms=1500',
    'broker.heartbeat.interval.ms=250',
    // Logs of deleted topics are removed at once: after a kill, the broker recovers every remaining log.
    'log.segment.delete.delay.ms=200',
    'log.initial.task.delay.ms=200',
  ]
}

function advertisedAs({ name, port, advertised = `127.0.0.1:${port}` }: KafkaListener): string {
  return `${name}://${advertised}`
}
