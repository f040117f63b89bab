import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  type Delivery,
  type HandlingMiddleware,
  replayTarget,
  type StoredDeadLetter,
  type Wait,
} from '../../src/index.ts'
import {
  type CreateBus,
  type DescribeEventBusOptions,
  describeEventBus,
  type SuiteRunner,
} from '../../src/testing/index.ts'
import { paced } from '../support/pace.ts'
import {
  administrating,
  controlling,
  delivering,
  faulty,
  presenting,
  pretendingConsumption,
  pretendingDelivery,
  pretendingStore,
  reporting,
  type Sabotage,
} from './faulty-buses.ts'
import { createMemoryBrokerBus, memoryFaults } from './memory-buses.ts'

interface Collected {
  readonly run: ReadonlyMap<string, () => Promise<void>>
  readonly skipped: readonly string[]
}

/** The suite's tests, not run. */
function collect(options: Omit<DescribeEventBusOptions, 'runner'>): Collected {
  const run = new Map<string, () => Promise<void>>()
  const skipped: string[] = []
  const add = (name: string, body: () => Promise<void>) => {
    expect(run.has(name), `a second test named ${name}`).toBe(false)
    run.set(name, body)
  }
  const runner: SuiteRunner = {
    describe: (_name, body) => body(),
    it: Object.assign(add, { skip: (name: string) => void skipped.push(name) }),
  }
  describeEventBus('collected', { runner, ...options })
  return { run, skipped }
}

/** How long a test that is expected to fail waits in vain, in milliseconds. */
const SHORT_WAIT_MS = 1000

/** Runs the tests with these names. @returns the names of those that failed. */
async function failing(
  buses: Pick<DescribeEventBusOptions, 'create' | 'faults'>,
  names: readonly string[],
  waitMs: number,
): Promise<readonly string[]> {
  const { run } = collect({ ...buses, waitMs: paced(waitMs) })
  const outcomes = await Promise.all(
    names.map(async (name) => {
      const body = run.get(name)
      if (body === undefined) throw new Error(`the suite has no test named ${name}`)
      return body().then(
        () => [],
        () => [name],
      )
    }),
  )
  return outcomes.flat()
}

/** Changes each delivery. */
function altering(change: (whole: Delivery) => Partial<Delivery>): Sabotage {
  return (whole) => ({
    consume: (intake) =>
      whole.consume(
        delivering(intake, (delivery) => intake.deliver(pretendingDelivery(delivery, change(delivery)))),
      ),
  })
}

/** Stores waiting messages in another way than a transport should. */
function postponing(
  postpone: (whole: Delivery, wait: Wait) => Promise<boolean | undefined> | undefined,
): Sabotage {
  return (whole) => ({
    consume: (intake) =>
      whole.consume(
        delivering(intake, (delivery) =>
          intake.deliver(
            pretendingDelivery(delivery, {
              postpone: async (wait) => (await postpone(delivery, wait)) ?? false,
            }),
          ),
        ),
      ),
  })
}

const SEEKS = 'moves a consumer group to a position, a time or an end, while no member of it lives'
const CONSUMERS = 'lists the living consumers of all groups, and a stopped one no longer'
const TOPOLOGY = 'reports who publishes what, and which handler publishes in turn'
const PAUSES = 'pauses a consumer group in all processes, also in those that start later, until it is resumed'
const RUNNING_HANDLERS =
  'lets running handlers end when a consumer group is paused, and starts no further attempt'

interface Fault {
  readonly what: string
  readonly sabotage: Sabotage
  readonly caughtBy: readonly string[]
}

const FAULTS: readonly Fault[] = [
  {
    what: 'lists only the groups that have a consumer',
    sabotage: reporting((groups) => groups.filter(({ members }) => members > 0)),
    caughtBy: [
      'lists every consumer group with its lag, also one that no process consumes for',
      'distinguishes a misspelt consumer group from an idle one',
    ],
  },
  {
    what: 'browses backwards in the order of the log',
    sabotage: administrating((admin) => ({
      scan: (request) => admin.scan({ ...request, direction: 'forward', from: 'first' }),
    })),
    caughtBy: ['browses past events in both directions, and continues at a position'],
  },
  {
    what: 'browses the events from the beginning, whatever the position',
    sabotage: administrating((admin) => ({
      scan: (request) => admin.scan({ ...request, from: request.direction === 'forward' ? 'first' : 'last' }),
    })),
    caughtBy: [
      'browses past events in both directions, and continues at a position',
      'browses by id, aggregate, type, correlation, causation, text and time',
    ],
  },
  {
    what: 'tails what was published before',
    sabotage: administrating((admin) => ({
      follow: (aggregateId) => admin.scan({ from: 'first', direction: 'forward', aggregateId }),
    })),
    caughtBy: ['shows the events that are published after a tail began, until it is ended'],
  },
  {
    what: 'browses as another group',
    sabotage: administrating((admin, broker) => ({
      scan: (request) => {
        broker.ensureGroup('operator')
        return admin.scan(request)
      },
    })),
    caughtBy: ['changes nothing for consumers while an operator looks'],
  },
  {
    what: 'takes the events that it shows from the consumers',
    sabotage: administrating((admin, broker) => ({
      follow: async (aggregateId, signal) => {
        broker.onChange(() => broker.take('main', 'operator'))
        return admin.follow(aggregateId, signal)
      },
    })),
    caughtBy: ['changes nothing for consumers while an operator looks'],
  },
  {
    what: 'reads only the last event of a range with a time',
    sabotage: administrating((admin) => ({
      scan: (request) => admin.scan(request.from instanceof Date ? { ...request, from: 'last' } : request),
    })),
    caughtBy: ['explains when and where an event was published, and what it caused'],
  },
  {
    what: 'explains every event as settled',
    sabotage: administrating((admin) => ({
      progress: async (place) => (await admin.progress(place)).map((one) => ({ ...one, state: 'settled' })),
    })),
    caughtBy: [
      'explains how far each consumer group is with an event',
      'explains that a dead letter was replayed, and is handled again',
    ],
  },
  {
    what: 'explains nothing of a handler that waits for its next attempt',
    sabotage: administrating((admin) => ({
      progress: async (place) => (await admin.progress(place)).map((one) => ({ ...one, waits: [] })),
    })),
    caughtBy: ['explains how far each consumer group is with an event'],
  },
  {
    what: 'explains only the groups that hold the event',
    sabotage: administrating((admin) => ({
      progress: async (place) =>
        (await admin.progress(place)).filter(({ consumer }) => consumer !== undefined),
    })),
    caughtBy: ['explains how far each consumer group is with an event'],
  },
  {
    what: 'invents the state of an event that was not found',
    sabotage: administrating((admin) => ({
      progress: async (place) => {
        const progress = await admin.progress(place)
        return place.scanned === undefined
          ? progress.map((one) => ({ ...one, state: 'settled', remark: undefined }))
          : progress
      },
    })),
    caughtBy: ['explains how far each consumer group is with an event'],
  },
  {
    what: 'explains a replay as the first delivery',
    sabotage: administrating((admin) => ({
      progress: async (place) => (await admin.progress(place)).map((one) => ({ ...one, isReplay: false })),
    })),
    caughtBy: ['explains that a dead letter was replayed, and is handled again'],
  },
  {
    what: 'counts events that a group has handled',
    sabotage: reporting((groups) => groups.map((group) => ({ ...group, lag: (group.lag ?? 0) + 1 }))),
    caughtBy: ['lists every consumer group with its lag, also one that no process consumes for'],
  },
  {
    what: 'forgets the events that a consumer holds',
    sabotage: reporting((groups) => groups.map((group) => ({ ...group, inFlight: 0 }))),
    caughtBy: ['reports what a consumer holds, and since when'],
  },
  {
    what: 'gives every group the dead letters of all',
    sabotage: reporting((groups) => {
      const deadLetters = groups.reduce((sum, group) => sum + group.deadLetters, 0)
      return groups.map((group) => ({ ...group, deadLetters }))
    }),
    caughtBy: ['counts the dead letters and the waiting retries of each consumer group'],
  },
  {
    what: 'deletes a group that has a consumer',
    sabotage: administrating((_admin, broker) => ({
      deleteGroup: (name) => {
        broker.removeGroup(name)
        return Promise.resolve(true)
      },
    })),
    caughtBy: ['deletes a consumer group that nobody consumes for, and no other'],
  },
  {
    what: 'keeps a group that it should delete',
    sabotage: administrating(() => ({ deleteGroup: () => Promise.resolve(true) })),
    caughtBy: ['deletes a consumer group that nobody consumes for, and no other'],
  },
  {
    what: 'moves no group',
    sabotage: administrating((admin) => ({
      seek: async (name, to, isDryRun) => ({ ...(await admin.seek(name, to, true)), isMoved: !isDryRun }),
    })),
    caughtBy: [SEEKS],
  },
  {
    what: 'moves a group although a member of it lives, and in a dry run',
    sabotage: administrating((admin, broker) => ({
      seek: async (name, to) => {
        const outcome = await admin.seek(name, to, true)
        broker.moveTo(name, broker.messages(0).length - outcome.events)
        return { ...outcome, isMoved: false }
      },
    })),
    caughtBy: [SEEKS],
  },
  {
    what: 'moves a group in front of the event that was named',
    sabotage: administrating((admin, broker) => ({
      seek: async (name, to, isDryRun) => {
        const outcome = await admin.seek(name, to, isDryRun)
        const events = Math.min(outcome.events + 1, broker.messages(0).length)
        if (outcome.isMoved) broker.moveTo(name, broker.messages(0).length - events)
        return outcome
      },
    })),
    caughtBy: [SEEKS],
  },
  {
    what: 'keeps the report of a process that has stopped',
    sabotage: presenting(() => ({ remove: () => Promise.resolve() })),
    caughtBy: [CONSUMERS],
  },
  {
    what: 'keeps the report of a process that was killed',
    sabotage: presenting((presence) => ({
      write: (report) => presence.write({ ...report, ttlMs: Number.POSITIVE_INFINITY }),
    })),
    caughtBy: ['lists a killed consumer until it has missed three reports'],
  },
  {
    what: 'keeps one report for all processes',
    sabotage: presenting((presence) => ({
      write: (report) => presence.write({ ...report, id: 'the only one' }),
    })),
    caughtBy: [CONSUMERS, TOPOLOGY],
  },
  {
    what: 'publishes reports as messages',
    sabotage: presenting((presence, broker) => ({
      write: (report) => {
        broker.publishRaw({ headers: {}, body: Buffer.from(report.text) })
        return presence.write(report)
      },
    })),
    caughtBy: [CONSUMERS],
  },
  {
    what: 'takes no reports of a bus that only publishes',
    sabotage: presenting((presence) => ({
      write: async (report) => {
        if (report.isConsumer) await presence.write(report)
      },
    })),
    caughtBy: [TOPOLOGY],
  },
  {
    what: 'ignores a pause',
    sabotage: controlling(() => ({ poll: () => Promise.resolve(undefined) })),
    caughtBy: [PAUSES, RUNNING_HANDLERS],
  },
  {
    what: 'forgets a pause when its process ends',
    sabotage: controlling((control, broker) => {
      const former = broker.controls.get('main')
      return {
        poll: async () => {
          const text = await control.poll()
          return text === former ? undefined : text
        },
      }
    }),
    caughtBy: [PAUSES],
  },
  {
    what: 'pauses every group at once',
    sabotage: controlling((_control, broker) => ({
      poll: () => Promise.resolve([...broker.controls.values()].at(0)),
    })),
    caughtBy: [PAUSES, RUNNING_HANDLERS],
  },
  {
    what: 'never ends a pause',
    sabotage: controlling((control) => ({
      write: async (group, text) => {
        if (text !== undefined) await control.write(group, text)
      },
    })),
    caughtBy: [PAUSES, RUNNING_HANDLERS],
  },
  {
    what: 'settles what a paused consumer has not handled',
    sabotage: (whole) => ({
      consume: async (intake) => {
        const held = new Set<Delivery>()
        const consumption = await whole.consume(
          delivering(intake, (delivery) => {
            held.add(delivery)
            intake.deliver(delivery)
          }),
        )
        return pretendingConsumption(consumption, {
          release: (signal) => {
            for (const delivery of held) delivery.ack()
            return consumption.release(signal)
          },
        })
      },
    }),
    caughtBy: [RUNNING_HANDLERS],
  },
  {
    what: 'forgets which handlers had succeeded',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) =>
            intake.deliver(pretendingDelivery(delivery, { settledHandlers: [] })),
          ),
        ),
    }),
    caughtBy: ['runs the failed handler even if a release adds a handler before it'],
  },
  {
    what: 'treats a failed handler as one that had succeeded',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) =>
            intake.deliver(pretendingDelivery(delivery, { settledHandlers: ['audit', 'invoice'] })),
          ),
        ),
    }),
    caughtBy: ['runs the failed handler even if a release adds a handler before it'],
  },
  {
    what: 'accepts the header of a replay in an ordinary message',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) =>
            intake.deliver(
              pretendingDelivery(delivery, { replayTarget: replayTarget(delivery.message.headers) }),
            ),
          ),
        ),
    }),
    caughtBy: ['ignores headers of a producer about handlers and attempts'],
  },
  {
    what: 'accepts a header with the number of deliveries',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) => {
            const claimed = Number(delivery.message.headers['x-delivery-count'] ?? 0)
            intake.deliver(pretendingDelivery(delivery, { deliveryCount: delivery.deliveryCount + claimed }))
          }),
        ),
    }),
    caughtBy: ['ignores headers of a producer about handlers and attempts'],
  },
  {
    what: 'accepts a header with the type of an event',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) => {
            if (delivery.message.headers['event_type'] === 'ConformanceUnheard') delivery.ack()
            else intake.deliver(delivery)
          }),
        ),
    }),
    caughtBy: [
      'keeps as a dead letter a message whose header names a type without handlers and whose body another type',
    ],
  },
  {
    what: 'loses the version of an event',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) => {
            const body = Buffer.from(delivery.message.body)
              .toString()
              .replace(/"event_version":\d+,/, '')
            intake.deliver(pretendingDelivery(delivery, { message: { ...delivery.message, body } }))
          }),
        ),
    }),
    caughtBy: [
      'passes events of all versions to a handler as instances of the current class',
      'dead-letters an event of a newer version at once with both versions, if it is to refuse it',
    ],
  },
  {
    what: 'takes an event with a former name for one without handlers',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) => {
            if (delivery.message.headers['event_type'] === 'conformance.noted') delivery.ack()
            else intake.deliver(delivery)
          }),
        ),
    }),
    caughtBy: ['hands events with former names to the handlers of the current class'],
  },
  {
    what: 'changes the type in a header, but not in the body',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) => {
            const headers = { ...delivery.message.headers, event_type: 'ConformanceMoved' }
            intake.deliver(pretendingDelivery(delivery, { message: { ...delivery.message, headers } }))
          }),
        ),
    }),
    caughtBy: ['passes an event with a former name on as it came'],
  },
  {
    what: 'forgets the attempts before a long wait',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) => {
            const { handlerNames = [], settledHandlers } = delivery.replayTarget ?? {}
            const replayTarget = delivery.replayTarget && { handlerNames, settledHandlers }
            intake.deliver(pretendingDelivery(delivery, { replayTarget }))
          }),
        ),
    }),
    caughtBy: [
      'continues the attempts of the handler that waited, and runs no other',
      'continues a long wait after a stop',
    ],
  },
  {
    what: 'delivers an event after a long wait to all handlers',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) =>
            intake.deliver(pretendingDelivery(delivery, { replayTarget: undefined })),
          ),
        ),
    }),
    caughtBy: ['continues the attempts of the handler that waited, and runs no other'],
  },
  {
    what: 'ends each long wait at once',
    sabotage: postponing((whole, wait) => whole.postpone?.({ ...wait, delayMs: 0 })),
    caughtBy: ['continues a long wait after a stop'],
  },
  {
    what: 'forgets since when an event waits',
    sabotage: ({ waiting }) => ({
      waiting: waiting && { ...waiting, oldestSince: () => Promise.resolve(undefined) },
    }),
    caughtBy: ['holds no place during a long wait'],
  },
  {
    what: 'holds an event during a long wait',
    sabotage: postponing(async (whole, wait) => {
      await delay(wait.delayMs, undefined, { ref: false })
      return whole.postpone?.({ ...wait, delayMs: 0 })
    }),
    caughtBy: ['holds no place during a long wait'],
  },
  {
    what: 'lets events overtake one that keeps its order while it waits',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) =>
            intake.deliver(pretendingDelivery(delivery, { waitBehind: () => Promise.resolve(0) })),
          ),
        ),
    }),
    caughtBy: [
      'keeps the order of an aggregate behind a long wait, for the handler that waits',
      'keeps the order behind a long wait in the next process, and continues after a dead letter',
    ],
  },
  {
    what: 'lets each member of a group start a handler as often as it likes',
    sabotage: () => ({ rates: { take: () => Promise.resolve(0) } }),
    caughtBy: [
      'starts the runs of a handler at most at the rate of the group, in all of its members together',
    ],
  },
  {
    what: 'never ends the order behind a long wait',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) =>
            intake.deliver(pretendingDelivery(delivery, { passOn: () => Promise.resolve(true) })),
          ),
        ),
    }),
    caughtBy: [
      'keeps the order of an aggregate behind a long wait, for the handler that waits',
      'keeps the order behind a long wait in the next process, and continues after a dead letter',
    ],
  },
  {
    what: 'lets later events overtake a dead letter',
    sabotage: altering(() => ({ waitBehind: () => Promise.resolve(0) })),
    caughtBy: [
      'keeps the later events of an aggregate behind a dead letter, for the handler that parks',
      'keeps them for the next process, behind each failed replay, and releases them when the dead letter is purged',
      'keeps the order between several dead letters of an aggregate, whichever is replayed first',
      'parks an aggregate for each of several handlers',
    ],
  },
  {
    what: 'gives a dead letter no place for later events',
    sabotage: altering((whole) => ({
      deadLetter: ({ parkedFor: _, ...reason }) => whole.deadLetter(reason),
    })),
    caughtBy: [
      'keeps the later events of an aggregate behind a dead letter, for the handler that parks',
      'keeps them for the next process, behind each failed replay, and releases them when the dead letter is purged',
      'keeps the order between several dead letters of an aggregate, whichever is replayed first',
      'parks an aggregate for each of several handlers',
    ],
  },
  {
    what: 'forgets the places of a replayed dead letter',
    sabotage: altering(({ replayTarget }) => {
      const { places: _, ...target } = replayTarget ?? { handlerNames: [], settledHandlers: [] }
      return { replayTarget: replayTarget && target }
    }),
    caughtBy: [
      'keeps the later events of an aggregate behind a dead letter, for the handler that parks',
      'keeps the order between several dead letters of an aggregate, whichever is replayed first',
      'parks an aggregate for each of several handlers',
    ],
  },
  {
    what: 'releases what waits behind a dead letter for handlers that failed again',
    sabotage: altering((whole) => ({ passOn: async () => (await whole.passOn?.()) ?? true })),
    caughtBy: ['parks an aggregate for each of several handlers'],
  },
  {
    what: 'never releases what waits behind a purged dead letter',
    sabotage: ({ deadLetters }) => {
      const purged = new Set<string>()
      const remaining = async (limit: number, cursor: string | undefined) => {
        const page = await deadLetters.list(limit, cursor)
        return { ...page, letters: page.letters.filter(({ id }) => !purged.has(id)) }
      }
      const remove = (ids: readonly string[]) => {
        for (const id of ids) purged.add(id)
        return Promise.resolve(ids.length)
      }
      return { deadLetters: { ...deadLetters, list: remaining, remove } }
    },
    caughtBy: [
      'keeps them for the next process, behind each failed replay, and releases them when the dead letter is purged',
      'keeps the order between several dead letters of an aggregate, whichever is replayed first',
    ],
  },
  {
    what: 'lets any number of events wait behind a dead letter',
    sabotage: altering((whole) => ({
      waitBehind: async (handlerName) => whole.waitBehind?.(handlerName, Number.POSITIVE_INFINITY),
    })),
    caughtBy: ['makes the events beyond maxBehind dead letters at the end of the line, and reports that'],
  },
  {
    what: 'loses an event that should wait',
    sabotage: postponing(() => Promise.resolve(true)),
    caughtBy: [
      'holds no place during a long wait',
      'continues the attempts of the handler that waited, and runs no other',
      'continues a long wait after a stop',
    ],
  },
  {
    what: 'acknowledges before the handlers have run',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) => {
            delivery.ack()
            intake.deliver(pretendingDelivery(delivery, { begin: () => true, ack: () => undefined }))
          }),
        ),
    }),
    caughtBy: [
      'takes over the messages of a consumer that crashed',
      'stops in time even if a handler hangs, and leaves its event to other consumers',
      'leaves events that it has not started to other consumers',
    ],
  },
  {
    what: 'never acknowledges',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) =>
            intake.deliver(pretendingDelivery(delivery, { ack: () => undefined })),
          ),
        ),
    }),
    caughtBy: ['repeats nothing without a fault', 'lets running handlers finish, and settles their events'],
  },
  {
    what: 'forgets the order',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) =>
            intake.deliver(
              pretendingDelivery(delivery, { message: { ...delivery.message, key: undefined } }),
            ),
          ),
        ),
    }),
    caughtBy: [
      'handles the events of an aggregate one at a time, in order',
      'lets a retried event hold back its own aggregate only',
      'lets a stuck handler hold back its own aggregate only',
    ],
  },
  {
    what: 'drops some messages',
    sabotage: (whole) => {
      let count = 0
      return {
        publish: (messages, signal) =>
          whole.publish(
            messages.filter(() => ++count % 17 !== 0),
            signal,
          ),
      }
    },
    caughtBy: [
      'loses nothing between 50 publishers and many competing consumers',
      'keeps the order of the events of one call',
    ],
  },
  {
    what: 'delivers some messages twice',
    sabotage: (whole) => {
      let count = 0
      return {
        consume: (intake) =>
          whole.consume(
            delivering(intake, (delivery) => {
              intake.deliver(delivery)
              if (++count % 17 === 0) intake.deliver(pretendingDelivery(delivery, { begin: () => true }))
            }),
          ),
      }
    },
    caughtBy: ['repeats nothing without a fault', 'keeps the order of the events of one call'],
  },
  {
    what: 'redelivers for a retry, under another id, and forgets which handlers had succeeded',
    sabotage: (whole) => ({
      consume: (intake) => {
        const deliver = (delivery: Delivery) =>
          intake.deliver(
            pretendingDelivery(delivery, {
              beginAttempt: (attempt) => {
                if (attempt === delivery.deliveryCount) return Promise.resolve(true)
                const message = { ...delivery.message, id: `${delivery.message.id} again` }
                setImmediate(deliver, pretendingDelivery(delivery, { message, deliveryCount: attempt }))
                return Promise.resolve(false)
              },
            }),
          )
        return whole.consume(delivering(intake, deliver))
      },
    }),
    caughtBy: [
      'runs a retry only for the handlers that have not succeeded',
      'repeats no handler that had succeeded before the connections were cut, and repeats the one that had failed',
    ],
  },
  {
    what: 'reports all messages as stored while the broker is unreachable',
    sabotage: (whole, broker) => ({
      publish: (messages, signal) => (broker.isDown ? Promise.resolve([]) : whole.publish(messages, signal)),
    }),
    caughtBy: [
      'holds a publish until the broker is back',
      'rejects a publish at its deadline if the broker stays unreachable, with the outcome of each event',
    ],
  },
  {
    what: 'reports stored messages as not stored',
    sabotage: (whole, broker) => ({
      publish: async (messages, signal) => {
        const failures = await whole.publish(messages, signal)
        if (failures.length > 0) for (const message of messages) broker.publishRaw(message)
        return failures
      },
    }),
    caughtBy: [
      'rejects a publish at its deadline if the broker stays unreachable, with the outcome of each event',
    ],
  },
  {
    what: 'keeps of the settled handlers only those with an ordinary name',
    sabotage: (whole) => {
      const ordinary = (names: readonly string[]) => names.filter((name) => /^[\w ]+$/.test(name))
      return {
        consume: (intake) =>
          whole.consume(
            delivering(intake, (delivery) =>
              intake.deliver(
                pretendingDelivery(delivery, {
                  beginAttempt: (attempt, settled) => delivery.beginAttempt(attempt, ordinary(settled)),
                  attemptFailed: (attempt, settled) => delivery.attemptFailed(attempt, ordinary(settled)),
                }),
              ),
            ),
          ),
      }
    },
    caughtBy: ['continues the attempts of each handler after a stop'],
  },
  {
    what: 'keeps no other reason than that of the retries',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) =>
            intake.deliver(
              pretendingDelivery(delivery, {
                deadLetter: (reason) => delivery.deadLetter({ ...reason, kind: 'max_retries_exceeded' }),
              }),
            ),
          ),
        ),
    }),
    caughtBy: ['gives an event up after one attempt if no retry can help'],
  },
  {
    what: 'drops dead letters',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) =>
            intake.deliver(
              pretendingDelivery(delivery, {
                deadLetter: () => {
                  delivery.ack()
                  return Promise.resolve(true)
                },
              }),
            ),
          ),
        ),
    }),
    caughtBy: [
      'gives up after exactly 1 + maxRetries attempts, with growing delays',
      'keeps as a dead letter, at once and bit for bit: bytes that are not JSON',
    ],
  },
  {
    what: 'stores changed dead letters',
    sabotage: ({ deadLetters }) => ({
      deadLetters: pretendingStore(deadLetters, {
        list: async (limit, cursor) => {
          const page = await deadLetters.list(limit, cursor)
          const asText = (body: string | Uint8Array) => Buffer.from(body).toString('utf8')
          const letters = page.letters.map((letter) => ({
            ...letter,
            message: { ...letter.message, body: asText(letter.message.body) },
          }))
          return { ...page, letters }
        },
      }),
    }),
    caughtBy: ['keeps as a dead letter, at once and bit for bit: bytes that are not UTF-8'],
  },
  {
    what: 'uses the id of the event as that of the dead letter',
    sabotage: ({ deadLetters }) => {
      const letters = async () => {
        const page = await deadLetters.list(1000, undefined)
        return page.letters.map((letter) => ({ ...letter, key: letter.message.headers['event_id'] ?? '' }))
      }
      const find = async (id: string) => (await letters()).find(({ key }) => key === id)
      return {
        deadLetters: pretendingStore(deadLetters, {
          list: async () => ({
            letters: (await letters()).map((letter) => ({ ...letter, id: letter.key })),
            cursor: undefined,
          }),
          get: find,
          replay: async (id, group) => deadLetters.replay((await find(id))?.id ?? '', group),
          remove: async ([id = '']) => deadLetters.remove([(await find(id))?.id ?? '']),
        }),
      }
    },
    caughtBy: ['gives dead letters ids of their own, also those of one event'],
  },
  {
    what: 'counts the dead letters of all groups',
    sabotage: ({ deadLetters }) => ({
      deadLetters: pretendingStore(deadLetters, {
        count: () => deadLetters.count(),
      }),
    }),
    caughtBy: ['counts in the health of a group its own dead letters only'],
  },
  {
    what: 'starts a list again for a cursor that it cannot read',
    sabotage: ({ deadLetters }) => ({
      deadLetters: pretendingStore(deadLetters, {
        list: async (limit, cursor, listing) =>
          deadLetters.list(limit, cursor, listing).catch(() => deadLetters.list(limit, undefined, listing)),
      }),
    }),
    caughtBy: ['lists dead letters that match, the newest first if asked, and counts and groups them'],
  },
  {
    what: 'stores a copy for each call that has found the dead letter',
    sabotage: ({ deadLetters }, broker) => ({
      deadLetters: pretendingStore(deadLetters, {
        replay: async (id, request) => {
          const letter = await deadLetters.get(id)
          if (letter === undefined || (await deadLetters.replay(id, request))) return letter !== undefined
          broker.publishRaw(letter.message)
          return true
        },
      }),
    }),
    caughtBy: [
      'replays a dead letter once if one bus is asked several times at once',
      'replays a dead letter once if two processes do it at the same time',
    ],
  },
  {
    what: 'replays to all groups and handlers',
    sabotage: ({ deadLetters }, broker) => ({
      deadLetters: pretendingStore(deadLetters, {
        replay: async (id) => {
          const letter = await deadLetters.get(id)
          if (letter === undefined) return false
          await deadLetters.remove([id])
          broker.publishRaw(letter.message)
          return true
        },
      }),
    }),
    caughtBy: [
      'replays to the group and the handler that failed, and to no others',
      'replays to one of two groups that failed',
    ],
  },
  {
    what: 'replays to the handlers that failed, whatever the call names',
    sabotage: ({ deadLetters }) => ({
      deadLetters: pretendingStore(deadLetters, {
        replay: (id, { fallbackGroup }) => deadLetters.replay(id, { fallbackGroup }),
      }),
    }),
    caughtBy: [
      'replays to the handlers that the call names, instead of those that failed',
      'replays to another group if the call names one, to all of its handlers or to some',
    ],
  },
  {
    what: 'lists dead letters in one order only, and without looking whether they match',
    sabotage: ({ deadLetters }) => ({
      deadLetters: pretendingStore(deadLetters, {
        list: (limit, cursor) => deadLetters.list(limit, cursor),
      }),
    }),
    caughtBy: ['lists dead letters that match, the newest first if asked, and counts and groups them'],
  },
  {
    what: 'skips a dead letter in each sweep',
    sabotage: ({ deadLetters }) => ({
      deadLetters: pretendingStore(deadLetters, {
        sweep: (visit, options) => {
          let visited = 0
          return deadLetters.sweep((letter) => {
            visited += 1
            return visited === 3 ? 'keep' : visit(letter)
          }, options)
        },
      }),
    }),
    caughtBy: [
      'lists dead letters that match, the newest first if asked, and counts and groups them',
      'replays in bulk exactly the dead letters that match, once, and leaves the others as they are',
    ],
  },
  {
    what: 'removes dead letters in bulk without replaying them',
    sabotage: ({ deadLetters }) => ({
      deadLetters: pretendingStore(deadLetters, {
        sweep: async (visit, options) => {
          const report = await deadLetters.sweep((letter) => {
            const verdict = visit(letter)
            return typeof verdict === 'string' ? verdict : 'remove'
          }, options)
          return { ...report, replayed: report.removed, removed: 0 }
        },
      }),
    }),
    caughtBy: [
      'replays in bulk exactly the dead letters that match, once, and leaves the others as they are',
    ],
  },
  {
    what: 'keeps no dead letter of a sweep where it was',
    sabotage: ({ deadLetters }) => ({
      deadLetters: pretendingStore(deadLetters, {
        sweep: async (visit, options) => {
          const kept: StoredDeadLetter[] = []
          const report = await deadLetters.sweep((letter) => {
            const verdict = visit(letter)
            if (verdict === 'keep') kept.push(letter)
            return verdict
          }, options)
          const [first] = kept
          if (first === undefined || report.replayed === 0) return report
          await deadLetters.remove([first.id])
          await deadLetters.append(first, 'main')
          return report
        },
      }),
    }),
    caughtBy: [
      'replays in bulk exactly the dead letters that match, once, and leaves the others as they are',
    ],
  },
  {
    what: 'goes on with a sweep that was cancelled',
    sabotage: ({ deadLetters }) => ({
      deadLetters: pretendingStore(deadLetters, {
        sweep: (visit, options) => deadLetters.sweep(visit, { ...options, signal: undefined }),
      }),
    }),
    caughtBy: ['loses no dead letter when a bulk replay is cancelled, and continues it with the next call'],
  },
  {
    what: 'does not wait before a batch of a sweep',
    sabotage: ({ deadLetters }) => ({
      deadLetters: pretendingStore(deadLetters, {
        sweep: (visit, options) =>
          deadLetters.sweep(visit, { ...options, beforeBatch: () => Promise.resolve() }),
      }),
    }),
    caughtBy: [
      'replays at most ratePerSecond',
      'exports and archives dead letters that an import restores as they were',
    ],
  },
  {
    what: 'forgets how often a message was replayed',
    sabotage: ({ deadLetters }) => ({
      deadLetters: pretendingStore(deadLetters, {
        list: async (limit, cursor, listing) => {
          const page = await deadLetters.list(limit, cursor, listing)
          return { ...page, letters: page.letters.map((letter) => ({ ...letter, replayCount: undefined })) }
        },
      }),
    }),
    caughtBy: ['counts on a dead letter how often it was replayed'],
  },
  {
    what: 'imports dead letters without their headers',
    sabotage: ({ deadLetters }) => ({
      deadLetters: pretendingStore(deadLetters, {
        append: (letter, group) =>
          deadLetters.append({ ...letter, message: { ...letter.message, headers: {} } }, group),
      }),
    }),
    caughtBy: ['exports and archives dead letters that an import restores as they were'],
  },
  {
    what: 'replays the original instead of the edited copy',
    sabotage: ({ deadLetters }) => ({
      deadLetters: pretendingStore(deadLetters, {
        replay: (id, request) => deadLetters.replay(id, { ...request, message: undefined }),
      }),
    }),
    caughtBy: ['replays an edited copy as a new event, checked by the schema, to the handlers that failed'],
  },
  {
    what: 'fetches without a limit',
    sabotage: (whole) => ({
      consume: (intake) =>
        whole.consume({
          room: Number.POSITIVE_INFINITY,
          roomBytes: Number.POSITIVE_INFINITY,
          whenRoom: () => Promise.resolve(),
          deliver: (delivery) => intake.deliver(delivery),
        }),
    }),
    caughtBy: [
      'holds at most maxInFlight messages while handlers are stuck',
      'holds at most maxInFlightBytes and one message while handlers are stuck',
    ],
  },
  {
    what: 'keeps messages that it should return',
    sabotage: (whole) => ({
      consume: async (intake) =>
        pretendingConsumption(await whole.consume(intake), { release: () => Promise.resolve() }),
    }),
    caughtBy: [
      'leaves events that it has not started to other consumers',
      'does not wait for a retry on stop, and leaves the event to other consumers',
    ],
  },
  {
    what: 'does not know what its group handles',
    sabotage: () => ({ groupTypes: undefined }),
    caughtBy: [
      'keeps events for the member of the group that handles their type, in order',
      'keeps the later events of the aggregate behind an event for another member',
      'dead-letters an event that no other member takes over in time, for a replay',
      'keeps events for a member that handles all types',
      'dead-letters no event that a newer member of the group can read, while releases replace each other',
    ],
  },
  {
    what: 'continues to fetch after a stop',
    sabotage: (whole) => ({
      consume: async (intake) =>
        pretendingConsumption(await whole.consume(intake), {
          stopFetching: () => Promise.resolve(),
          release: () => Promise.resolve(),
        }),
    }),
    caughtBy: [
      'receives nothing after stopConsuming has resolved',
      'loses and repeats nothing across stops and starts',
      'passes the aggregates of a worker that stops on to the others at once',
    ],
  },
  {
    what: 'starts a takeover with the new events',
    sabotage: (whole, broker) => ({
      consume: (intake) =>
        whole.consume(
          delivering(intake, (delivery) => {
            if (isFirst(broker, delivery.message.id)) intake.deliver(delivery)
            else setTimeout(() => intake.deliver(delivery), 50)
          }),
        ),
    }),
    caughtBy: ['keeps the order of each aggregate across workers that come, crash and stop'],
  },
  {
    what: 'gives all events to one worker of a group that keeps the order',
    sabotage: (whole, broker) => ({
      consume: (intake) => {
        if (isFirst(broker, 'worker of the test')) return whole.consume(intake)
        const idle = {
          isFlowing: true,
          stopFetching: () => Promise.resolve(),
          release: () => Promise.resolve(),
        }
        return Promise.resolve(idle)
      },
    }),
    caughtBy: ['shares the aggregates evenly among the workers of a group'],
  },
]

const seen = new WeakMap<object, Set<string>>()

/** False if it was called with the same broker and text before. */
function isFirst(broker: object, text: string): boolean {
  const texts = seen.get(broker) ?? new Set()
  seen.set(broker, texts)
  return !texts.has(text) && texts.add(text) !== undefined
}

/** A bus that changes each middleware before it uses it. */
function changing(change: (handle: HandlingMiddleware) => HandlingMiddleware, publishes = true): CreateBus {
  return (options) => {
    const bus = createMemoryBrokerBus(options)
    const use = bus.use.bind(bus)
    bus.use = (given) => {
      const { handle, publish } = typeof given === 'function' ? { handle: given } : given
      if (handle !== undefined) use(change(handle))
      if (publish !== undefined && publishes) use({ publish })
    }
    return bus
  }
}

const BUS_FAULTS: readonly { what: string; create: CreateBus; caughtBy: readonly string[] }[] = [
  {
    what: 'runs middleware around first attempts only',
    create: changing((handle) => (context, next) => (context.attempt === 1 ? handle(context, next) : next())),
    caughtBy: ['fails the attempt if middleware throws, and runs the middleware again with the retry'],
  },
  {
    what: 'shares events with other instances although it is to broadcast',
    create: (options) => createMemoryBrokerBus({ ...options, broadcast: false }),
    caughtBy: [
      'delivers every event to every running instance, in order, and once to their group',
      'delivers to an instance only events that are published while it runs',
    ],
  },
  {
    what: 'forgets the limits of handlers',
    create: (options) => {
      const bus = createMemoryBrokerBus(options)
      const subscribe = bus.subscribe.bind(bus)
      bus.subscribe = (eventClass, handler, options = {}) => {
        const { concurrency: _, ratePerSecond: __, outageGuard: ___, ...policy } = options
        return subscribe(eventClass, handler, policy)
      }
      return bus
    },
    caughtBy: [
      'runs a handler at most as often at the same time as its policy says',
      'starts the runs of a handler at most at the rate of its policy, retries included',
      'pauses a handler whose events fail for one reason, dead-letters none, and resumes by itself',
    ],
  },
  {
    what: 'lets the workers of a group compete for the events of an aggregate',
    create: (options) => createMemoryBrokerBus({ ...options, ordering: 'none' }),
    caughtBy: ['passes the aggregates of a worker that stops on to the others at once'],
  },
  {
    what: 'runs the handler that middleware leaves out',
    create: changing((handle) => async (context, next) => {
      let inner: Promise<void> | undefined
      await handle(context, () => {
        inner = next()
        return inner
      })
      await (inner ?? next())
    }),
    caughtBy: ['takes neither a caught error nor a handler that was left out for a success'],
  },
  {
    what: 'publishes around its middleware',
    create: changing((handle) => handle, false),
    caughtBy: [
      'publishes what middleware passes on, and nothing if it throws or passes nothing on',
      'publishes no event that is not valid, and hands none to a handler',
    ],
  },
]

describe('the conformance suite', () => {
  // Each waits in vain, so they wait together.
  it.concurrent.each(BUS_FAULTS)('catches a bus that $what', async ({ create, caughtBy }) => {
    expect(await failing({ create }, caughtBy, SHORT_WAIT_MS)).toEqual(caughtBy)
  })

  it.concurrent.each(FAULTS)('catches a transport that $what', async ({ sabotage, caughtBy }) => {
    expect(await failing(faulty(sabotage), caughtBy, SHORT_WAIT_MS)).toEqual(caughtBy)
  })

  it('passes a transport that hangs in a publish, because the bus does not hang', async () => {
    const hangs: Sabotage = (whole) => ({
      publish: (messages) => whole.publish(messages, new AbortController().signal),
    })
    const name =
      'rejects a publish at its deadline if the broker stays unreachable, with the outcome of each event'
    expect(await failing(faulty(hangs), [name], 10_000)).toEqual([])
  })

  it('passes the same transport without a fault', async () => {
    const names = [...new Set([...FAULTS, ...BUS_FAULTS].flatMap(({ caughtBy }) => caughtBy))]
    const failed: string[] = []
    // Some tests limit how long a bus may take, so only a few share the process. A test that passes does not use up its wait.
    for (let start = 0; start < names.length; start += 10) {
      const some = names.slice(start, start + 10)
      failed.push(
        ...(await failing(
          faulty(() => ({})),
          some,
          20_000,
        )),
      )
    }
    expect(failed).toEqual([])
  })

  it('refuses to skip for a capability that it does not know, or without a reason', () => {
    const lacks = { teleportation: 'not yet', retry: '' }
    expect(() => collect({ create: createMemoryBrokerBus, lacks })).toThrow(
      /teleportation is not a capability \(there are: consuming, .*retry is lacked without a reason/,
    )
  })

  it('gives the reason in the name of a skipped test', () => {
    const { skipped, run } = collect({
      create: createMemoryBrokerBus,
      faults: { publishRaw: () => undefined },
      lacks: { retry: 'not needed' },
    })
    expect(skipped).toContain('makes one attempt if there are no retries (lacks retry: not needed)')
    expect(skipped).toContain('takes over the messages of a consumer that crashed (needs faults.crash)')
    expect(skipped).toContain('lets the process exit after a shutdown (needs module)')
    expect([...run.keys()]).not.toContain('makes one attempt if there are no retries')
  })

  it('finds a secret in the log of a bus', async () => {
    const { run } = collect({
      create: (options) => {
        options.logger.info('connected', { url: 'redis://user:sesame@host' })
        return createMemoryBrokerBus(options)
      },
      faults: memoryFaults,
      secrets: ['sesame'],
    })
    await expect(run.get('shuts down with `await using`')?.()).rejects.toThrow(/a secret shows/)
  })

  it('has no two tests with the same name', () => {
    expect(collect({ create: createMemoryBrokerBus, faults: memoryFaults }).run.size).toBeGreaterThan(90)
  })
})
