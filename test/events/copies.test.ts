import { readFile } from 'node:fs/promises'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { VERSION } from '../../src/events/copies.ts'
import * as here from '../../src/index.ts'
import type { Reloaded } from './reloaded-event.ts'

const { defineEvent, InMemoryEventBus, InMemoryEventStore, EventRegistry } = here

let other: typeof here

beforeAll(async () => {
  vi.resetModules()
  other = await import('../../src/index.ts')
})

const kind = { type: 'Copied', aggregateType: 'Sample' }

describe('two copies of the package', () => {
  const named = /another copy of eventspine \(both of version \d+\.\d+\.\d+\)/

  it('are reported if a bus receives an event of the other copy', async () => {
    class Copied extends other.defineEvent<object>()(kind) {}
    const bus = new InMemoryEventBus()

    await expect(
      bus.publish([new Copied({ aggregateId: 'a' }) as unknown as here.DomainEvent]),
    ).rejects.toThrow(named)
  })

  it('are reported if a handler subscribes to an event class of the other copy', () => {
    class Copied extends other.defineEvent<object>()(kind) {}
    const bus = new InMemoryEventBus()

    expect(() => bus.subscribe(Copied as unknown as here.EventClass, () => undefined)).toThrow(named)
  })

  it('are reported if a store, a codec, a bus or a repository receives an object of the other copy', async () => {
    class Copied extends other.defineEvent<object>()(kind) {}
    class Other extends other.AggregateRoot<number> {
      protected readonly initialState = 0
      protected readonly evolve = other.evolution<number>()
    }
    const event = new Copied({ aggregateId: 'a' }) as unknown as here.DomainEvent
    const eventStore = new InMemoryEventStore()
    const append = { aggregateId: 'a', aggregateType: 'Sample', events: [event], expectedVersion: 0 }

    await expect(eventStore.appendEvents(append)).rejects.toThrow(named)
    expect(() => new here.JsonCodec().encode(event)).toThrow(named)
    const registry = new other.EventRegistry() as unknown as here.EventRegistry
    expect(() => new InMemoryEventBus({ registry })).toThrow(named)
    const aggregateFactory = Other as unknown as new (id: string) => here.AggregateRoot<number>
    expect(
      () => new here.AggregateRepository({ eventStore, aggregateFactory, aggregateType: 'Sample' }),
    ).toThrow(named)
  })

  it('are not what a class in place of an event, or an event in place of a class, is taken for', async () => {
    class Own extends defineEvent<object>()({ ...kind, type: 'Own' }) {}
    const bus = new InMemoryEventBus()
    const message = (thrown: unknown) => (thrown instanceof TypeError ? thrown.message : undefined)

    const published = await bus.publish([Own as unknown as here.DomainEvent]).catch(message)
    expect(published).toMatch(/an array of events \(instances of .*\), got the function Own\.$/)
    const event = new Own({ aggregateId: 'a' }) as unknown as here.EventClass
    expect(() => bus.subscribe(event, () => undefined)).toThrow(/is required, got an instance of Own\.$/)
  })

  it('have a version that is the one of package.json', async () => {
    const manifest: unknown = JSON.parse(await readFile('package.json', 'utf8'))

    expect(manifest).toMatchObject({ version: VERSION })
  })
})

describe('a second class of an event type', () => {
  it('is reported as the same source, evaluated twice', async () => {
    const registry = new EventRegistry()
    const define = () => class Again extends defineEvent<object>()({ type: 'Again', aggregateType: 'A' }) {}
    registry.register(define())

    expect(() => registry.register(define())).toThrow(
      /Again \(defined at .*copies\.test\.ts:\d+:\d+\).*evaluated twice/,
    )
  })

  it('is reported as the same source when a hot reload imports its module again', async () => {
    // Modules that are loaded now use this copy of the package.
    const bus = new other.InMemoryEventBus()
    const [first, second] = await Promise.all([load('1'), load('2')])
    bus.subscribe(first, () => undefined)

    expect(() => bus.subscribe(second, () => undefined)).toThrow(/evaluated twice/)
  })

  it('is named by its place, which a minifier does not change', () => {
    const registry = new EventRegistry()
    const [a, b] = [
      class extends defineEvent<object>()({ type: 'Minified', aggregateType: 'A' }) {},
      class extends defineEvent<object>()({ type: 'Minified', aggregateType: 'A' }) {},
    ]
    registry.register(a)

    expect(() => registry.register(b)).toThrow(/defined at .*:\d+:\d+\) and .*defined at .*another type/)
  })
})

async function load(query: string): Promise<typeof Reloaded> {
  const url = new URL(`./reloaded-event.ts?v=${query}`, import.meta.url)
  const module: { Reloaded: typeof Reloaded } = await import(/* @vite-ignore */ url.href)
  return module.Reloaded
}
