/** Capabilities that a bus may lack. A test that needs a missing capability is skipped, with the reason. */
export const CAPABILITIES = {
  consuming: 'starts and stops consuming, apart from publishing',
  persistence: 'keeps events while nobody of a known consumer group consumes',
  history: 'gives a new consumer group what was published before it existed',
  consumerGroups: 'shares events within a consumer group, and gives each group all of them',
  lanes: 'keeps the order of an aggregate over several publishes, and handles aggregates side by side',
  retry: 'tries failed handlers again',
  deadLetters: 'keeps what was given up, to be looked at and replayed',
  wire: 'carries messages as bytes, which others may write too',
  redelivery: 'gives to somebody else what a consumer did not settle',
  backpressure: 'holds a bounded number of messages',
  outages: 'survives the loss of its broker',
  processes: 'connects processes',
} as const

/** The name of a capability that a bus may lack. */
export type Capability = keyof typeof CAPABILITIES
