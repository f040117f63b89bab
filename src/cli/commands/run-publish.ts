import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { JsonCodec } from '../../codec/index.ts'
import { toError } from '../../errors.ts'
import { type DomainEvent, EventRegistry, GenericEvent } from '../../events/index.ts'
import { counted } from '../../kit/counted.ts'
import { EXIT, type ExitCode, UsageError } from '../exit-code.ts'
import { loadEventClasses } from '../load-events.ts'
import { openBus } from '../open-bus.ts'
import type { BusTarget } from '../target.ts'
import type { Terminal } from '../terminal.ts'

/** Events of a file that are published with one call. */
const BATCH = 500

export interface PublishSettings {
  readonly target: BusTarget
  readonly type: string | undefined
  readonly aggregateId: string | undefined
  readonly aggregateType: string | undefined
  readonly data: string | undefined
  readonly from: string | undefined
  readonly modules: readonly string[]
  readonly ratePerSecond: number | undefined
  readonly isDryRun: boolean
  readonly isJson: boolean
  readonly terminal: Terminal
}

/** Publishes what the options describe. In a file, the events before a wrong line are published. */
export async function publishEvents(settings: PublishSettings): Promise<ExitCode> {
  checkCombination(settings)
  const registry = await registryOf(settings.modules)
  const batches =
    settings.from === undefined
      ? [[await eventOf(settings, registry)]]
      : eventsIn(settings, registry, settings.from)
  const { target, isDryRun, isJson, ratePerSecond, terminal } = settings
  let count = 0
  await using bus = isDryRun ? undefined : await openBus(target)
  const startedAt = performance.now()
  for await (const events of batches) {
    await bus?.publish(events)
    count += events.length
    if (isJson) {
      for (const { eventId, eventType, aggregateId } of events) {
        await terminal.out(JSON.stringify({ version: 1, eventId, eventType, aggregateId }))
      }
    }
    if (ratePerSecond !== undefined) {
      await delay(startedAt + (count / ratePerSecond) * 1000 - performance.now())
    }
  }
  terminal.err(`${isDryRun ? 'would publish' : 'published'} ${counted(count, 'event')}`)
  return EXIT.done
}

function checkCombination({
  type,
  aggregateId,
  aggregateType,
  data,
  from,
  ratePerSecond,
}: PublishSettings): void {
  if (from === undefined) {
    if (type === undefined) throw new UsageError('Name the type of the event, or a file with --from.')
    if (aggregateId === undefined) throw new UsageError('--aggregate-id is needed.')
    if (ratePerSecond !== undefined) throw new UsageError('--rate needs --from.')
    return
  }
  const others = [type, aggregateId, aggregateType, data].some((one) => one !== undefined)
  if (others) throw new UsageError('--from takes whole events: leave out the type and the other fields.')
}

async function registryOf(modules: readonly string[]): Promise<EventRegistry> {
  const registry = new EventRegistry()
  if (modules.length === 0) return registry
  for (const eventClass of await loadEventClasses(modules)) registry.register(eventClass)
  return registry
}

async function eventOf(settings: PublishSettings, registry: EventRegistry): Promise<DomainEvent> {
  const { type = '', aggregateId = '', aggregateType, data = '{}', terminal } = settings
  const payload = objectIn(await textOf(data, terminal))
  if (registry.has(type)) {
    const event: DomainEvent = Reflect.construct(registry.get(type), [{ ...payload, aggregateId }])
    return event
  }
  if (aggregateType === undefined) {
    throw new UsageError(
      `The class of ${type} is not known: give --aggregate-type, or the module of the class with --events.`,
    )
  }
  return new GenericEvent({ eventType: type, aggregateType, aggregateId, data: payload })
}

async function textOf(data: string, { workingDirectory }: Terminal): Promise<string> {
  if (!data.startsWith('@')) return data
  try {
    return await readFile(resolve(workingDirectory, data.slice(1)), 'utf8')
  } catch (thrown) {
    throw new UsageError(`The file of --data cannot be read: ${toError(thrown).message}`)
  }
}

function objectIn(data: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(data)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  } catch (thrown) {
    throw new UsageError(`--data is not JSON: ${toError(thrown).message}`)
  }
  throw new UsageError(`--data must be a JSON object, such as '{"total":10}'.`)
}

async function* eventsIn(
  { terminal, ratePerSecond = Number.POSITIVE_INFINITY }: PublishSettings,
  registry: EventRegistry,
  file: string,
): AsyncGenerator<readonly DomainEvent[]> {
  const codec = new JsonCodec()
  const classFor = (type: string) => (registry.has(type) ? registry.get(type) : undefined)
  const input = file === '-' ? process.stdin : createReadStream(resolve(terminal.workingDirectory, file))
  const size = Math.max(1, Math.min(BATCH, Math.floor(ratePerSecond / 10)))
  let batch: DomainEvent[] = []
  let number = 0
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    number += 1
    if (line.trim() === '') continue
    try {
      batch.push(codec.decode({ headers: {}, body: line }, classFor))
    } catch (thrown) {
      if (batch.length > 0) yield batch
      throw new Error(`Line ${number} is not an event: ${toError(thrown).message}`)
    }
    if (batch.length < size) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
