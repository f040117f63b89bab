/** Capabilities that a bus may lack. A test that needs a missing capability is skipped, with the reason. */
export const CAPABILITIES = {
  consuming: 'starts and stops consuming, independently of publishing',
  persistence: 'keeps events while no consumer of a known group runs',
  history: 'delivers events to a new consumer group that were published before it existed',
  consumerGroups: 'shares events within a consumer group, and delivers all events to each group',
  broadcast: 'delivers every event to every running instance with the option `broadcast`',
  groupTypes: 'stores which event types the members of a group handle (`Transport.groupTypes`)',
  lanes: 'keeps the order of an aggregate across publishes, and handles aggregates concurrently',
  sharedOrder: 'keeps the order of an aggregate across the consumers of a group that wants it',
  retry: 'retries failed handlers',
  waiting: 'keeps events on the broker during long waits for a retry (`Transport.waiting`)',
  orderedWaits:
    'keeps the order of an aggregate during long waits (`WaitingStore.orderProblem` is undefined)',
  groupRate: 'limits the rate of a handler across the members of a group (`Transport.rates`)',
  parking:
    'keeps later events of an aggregate behind a dead letter (`WaitingStore.parkProblem` is undefined)',
  deadLetters: 'keeps events that failed for good, for inspection and replay',
  replayLock: 'replays a dead letter only once if two processes replay it at the same time',
  wire: 'transports messages as bytes, which other producers can write, too',
  redelivery: 'redelivers events that a consumer did not settle',
  backpressure: 'holds a bounded number of messages',
  control: 'keeps the pauses of consumer groups (`Transport.loadControl`)',
  presence: 'keeps the reports of its processes (`Transport.loadPresence`)',
  seeking: 'moves a consumer group in the log (`TransportAdmin.seek`)',
  operator: 'answers an operator (`bus.admin`, by `Transport.loadAdmin`)',
  outages: 'survives the loss of its broker',
  processes: 'connects processes',
} as const

/** The name of a capability that a bus may lack. */
export type Capability = keyof typeof CAPABILITIES
