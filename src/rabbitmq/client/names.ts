/** Names on the broker. */
export interface RabbitMQNames {
  readonly exchange: string
  readonly queue: string
  readonly deadLetterExchange: string
  readonly deadLetterQueue: string
  /** Stores which bindings the group has made; see `BindingRecord`. */
  readonly bindingsQueue: string
  /** An exchange with a binding for each event type that a member of the group handles; see `RabbitMQGroupTypes`. */
  readonly typesExchange: string
  /** Has messages while the group is paused; see `RabbitMQGroupControl`. */
  readonly controlQueue: string
  /** Stores who has paused the group, and why. */
  readonly controlNotes: string
  /** Stores which groups have a dead letter queue; see `registerGroup`. */
  readonly groupsQueue: string
  /** The exchange to which processes report themselves, and the queue that keeps the reports for a while. */
  readonly presence: string
  /** A stream queue with every event of the exchange; see `RabbitMQTopology`. */
  readonly journal: string
  /** Distributes the events of a partitioned group to the queues of its partitions; see `RabbitMQTopology`. */
  readonly partitionExchange: string
  /** An exclusive queue of the worker that declares the partitions; see `withDeclarationLock`. */
  readonly lockQueue: string
}

/** The options that the names are made of. */
export interface NameOptions {
  readonly exchangeName: string
  readonly dlqExchangeSuffix: string
}

/** Longest name of an exchange or queue, in bytes. AMQP allows 255; names derived from the queue's need the rest. */
const MAX_NAME_BYTES = 200

/** The names of a consumer group. */
export function namesOf({ exchangeName, dlqExchangeSuffix }: NameOptions, group: string): RabbitMQNames {
  const queue = `${exchangeName}.${group}`
  const deadLetterExchange = `${exchangeName}${dlqExchangeSuffix}`
  return {
    exchange: exchangeName,
    queue,
    deadLetterExchange,
    deadLetterQueue: `${queue}.dlq`,
    bindingsQueue: `${queue}.bindings`,
    typesExchange: `${queue}.types`,
    controlQueue: `${queue}.control`,
    controlNotes: `${queue}.control.notes`,
    groupsQueue: `${deadLetterExchange}.groups`,
    presence: `${exchangeName}.presence`,
    journal: `${exchangeName}.journal`,
    partitionExchange: `${queue}.partitions`,
    lockQueue: `${queue}.lock`,
  }
}

/**
 * The queue of a partition. The number has a fixed width: after a restart, RabbitMQ sorts the queues of the exchange by
 * name, and they must keep the order in which they were bound.
 */
export function partitionQueueOf({ queue }: Pick<RabbitMQNames, 'queue'>, partition: number): string {
  return `${queue}.partition-${String(partition).padStart(3, '0')}`
}

/** A queue whose only consumer is a worker of a partitioned group; see `RabbitMQSeats`. */
export function seatQueueOf({ queue }: Pick<RabbitMQNames, 'queue'>, seat: number): string {
  return `${queue}.workers.${seat}`
}

/** The queue of the messages of a partition that wait in order; see `RabbitMQLineQueue`. */
export function linesQueueOf({ queue }: Pick<RabbitMQNames, 'queue'>, partition: number | undefined): string {
  const number = partition === undefined ? '' : `-${String(partition).padStart(3, '0')}`
  return `${queue}.waiting.lines${number}`
}

/** Why the broker cannot have these names, and those derived from them; undefined if it can. */
export function faultOfNames({ queue, deadLetterExchange }: RabbitMQNames): string | undefined {
  const names = [queue, deadLetterExchange]
  if (names.some((name) => /[\r\n]/.test(name))) return 'must not contain line breaks, which RabbitMQ removes'
  if (names.every((name) => Buffer.byteLength(name) <= MAX_NAME_BYTES)) return undefined
  return `must make names of at most ${MAX_NAME_BYTES} bytes`
}
