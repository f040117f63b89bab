import { type DomainEvent, defineEvent, type EventClass, firstVersion } from '../index.ts'

const names = { type: 'ConformanceVersioned', aggregateType: 'Note' }

/** Refuses a payload without this field. A Standard Schema without a library. */
function requiring<Payload extends object>(field: keyof Payload & string) {
  return {
    '~standard': {
      version: 1 as const,
      vendor: 'eventspine',
      validate: (value: unknown) =>
        typeof value === 'object' && value !== null && field in value
          ? { value: value as Payload }
          : { issues: [{ message: 'is missing', path: [field] }] },
      types: undefined as { readonly input: Payload; readonly output: Payload } | undefined,
    },
  }
}

interface Text {
  readonly text: string
}
interface Words {
  readonly words: readonly string[]
}
interface Counted {
  readonly terms: readonly string[]
  readonly count: number
}

const toWords = firstVersion<Text>().to(
  2,
  ({ text }) => ({ words: text.split(' ') }),
  ({ words }) => ({ text: words.join(' ') }),
)
const toCounted = toWords.to(
  3,
  ({ words }) => ({ terms: words, count: words.length }),
  ({ terms }) => ({ words: terms }),
)
const ofWords = { ...names, schema: requiring<Words>('words'), upcasts: toWords }
const ofCounted = { ...names, schema: requiring<Counted>('count'), upcasts: toCounted }

class First extends defineEvent({ ...names, schema: requiring<Text>('text') }) {}
class Second extends defineEvent(ofWords) {}
class SecondAsFirst extends defineEvent({ ...ofWords, publishAs: 1 }) {}
class Third extends defineEvent(ofCounted) {}
class ThirdAsFirst extends defineEvent({ ...ofCounted, publishAs: 1 }) {}
class ThirdAsSecond extends defineEvent({ ...ofCounted, publishAs: 2 }) {}

export type Version = 1 | 2 | 3

/** The code of a release that publishes: the version that it writes, and an event. */
interface Producer {
  readonly writes: Version
  readonly event: (aggregateId: string) => DomainEvent
}

const words = { words: ['a', 'b'] }
const counted = { terms: ['a', 'b'], count: 2 }
/** The releases that publish, by name. */
export const PRODUCERS: Readonly<Record<string, Producer>> = {
  'release 1': { writes: 1, event: (aggregateId) => new First({ aggregateId, text: 'a b' }) },
  'release 2': { writes: 2, event: (aggregateId) => new Second({ aggregateId, ...words }) },
  'release 2, as 1': { writes: 1, event: (aggregateId) => new SecondAsFirst({ aggregateId, ...words }) },
  'release 3': { writes: 3, event: (aggregateId) => new Third({ aggregateId, ...counted }) },
  'release 3, as 1': {
    writes: 1,
    event: (aggregateId) => new ThirdAsFirst({ aggregateId, ...counted }),
  },
  'release 3, as 2': {
    writes: 2,
    event: (aggregateId) => new ThirdAsSecond({ aggregateId, ...counted }),
  },
}

/** The classes of the releases that consume, and what each sees of the payload. */
export const CONSUMERS = {
  1: { eventClass: First, seen: (event: DomainEvent) => event instanceof First && event.text === 'a b' },
  2: { eventClass: Second, seen: (event: DomainEvent) => event instanceof Second && isRight(event.words) },
  3: {
    eventClass: Third,
    seen: (event: DomainEvent) => event instanceof Third && isRight(event.terms) && event.count === 2,
  },
} as const satisfies Record<Version, { eventClass: EventClass; seen: (event: DomainEvent) => boolean }>

export const VERSIONS = [1, 2, 3] as const

function isRight([first, second]: readonly string[]): boolean {
  return first === 'a' && second === 'b'
}

/** Names of the releases that publish events of a version that meets a condition. */
export function releasesThatWrite(meets: (version: Version) => boolean): readonly string[] {
  return Object.entries(PRODUCERS).flatMap(([name, { writes }]) => (meets(writes) ? [name] : []))
}
