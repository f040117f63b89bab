import type { Capability } from '../../src/testing/index.ts'

type Lacks = Partial<Readonly<Record<Capability, string>>>

const inOneProcess = '`publish` calls the handlers directly'

/** What each bus lacks, with the reason. The conformance suite skips the tests of these capabilities; docs/writing-a-transport.md has them. */
export const LACKS = {
  memory: {
    consuming: inOneProcess,
    persistence: inOneProcess,
    history: inOneProcess,
    groupTypes: inOneProcess,
    consumerGroups: 'without groups, each handler gets every event',
    lanes: 'concurrent publishes call their handlers concurrently',
    sharedOrder: 'there is no group whose consumers could share events',
    retry: 'a failed handler is logged and counted, unless its own options ask for retries',
    waiting: inOneProcess,
    parking: 'there is no dead letter queue',
    orderedWaits: 'concurrent publishes call their handlers concurrently',
    groupRate: 'there is no group',
    control: 'there is no group',
    presence: 'there is only one process',
    seeking: 'there is no group',
    deadLetters: 'the publisher still has the event',
    replayLock: 'there is no dead letter queue',
    wire: 'events are passed on as objects',
    redelivery: inOneProcess,
    backpressure: '`publish` waits for the handlers, which limits its caller',
    outages: 'there is no broker to lose',
    processes: 'there is only one process',
  },
  redis: {},
  rabbitmq: {
    history: 'a queue gets the events that are published after its group first consumed',
    groupRate: 'the consumers of a queue share no clock and no counter',
    seeking: 'a queue forgets what its group has consumed',
  },
  kafka: {
    groupRate: 'the members of a group share no clock and no counter',
    replayLock: 'a log has no lock; the calls of one process replay it once',
  },
} satisfies Record<string, Lacks>
