import { once } from 'node:events'
import { appendFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import { isIPv6 } from 'node:net'
import { resolve } from 'node:path'
import type { ExportedLetter } from '../../bus/index.ts'
import type { AnyEventBus } from '../../create-event-bus.ts'
import { toError } from '../../errors.ts'
import { EventRegistry } from '../../events/index.ts'
import { createOperatorHandler, operatorListener, type Verb } from '../../operator/index.ts'
import { EXIT, type ExitCode, UsageError } from '../exit-code.ts'
import { createLimitedServer } from '../limited-server.ts'
import { loadEventClasses } from '../load-events.ts'
import { createQuietBus } from '../open-bus.ts'
import type { BusTarget } from '../target.ts'
import type { Terminal } from '../terminal.ts'
import { LinkAccess } from './link-access.ts'
import { passwordAccess } from './password-access.ts'

export interface UiSettings {
  readonly host: string
  readonly port: number
  /** The file with the users; undefined for a link that works once. */
  readonly auth: string | undefined
  /** The file for archived dead letters; undefined if there is none. */
  readonly archive: string | undefined
  readonly allowHosts: readonly string[]
  readonly isReadOnly: boolean
  readonly forMs: number | undefined
  readonly eventModules: readonly string[]
  readonly terminal: Terminal
}

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost'])

/** Serves the page until Ctrl-C, which ends it with success. It starts also while the broker is away. */
export async function serveUi(targets: readonly BusTarget[], settings: UiSettings): Promise<ExitCode> {
  const { host, port, auth, isReadOnly, forMs, terminal } = settings
  if (!LOOPBACK.has(host) && auth === undefined) {
    throw new UsageError(
      `--host ${host} needs --auth <file>: without it, everybody who reaches this port is let in.`,
    )
  }
  if (targets.some(({ url }) => url.startsWith('memory:'))) {
    throw new UsageError('ui needs a broker: mount the page in the program of a bus in memory.')
  }
  const byPassword = auth === undefined ? undefined : await passwordAccess(auth, isReadOnly)
  const buses = await busesOf(targets, settings)
  const server = createLimitedServer()
  try {
    const address = await listen(server, host, port)
    const roles: readonly Verb[] = isReadOnly ? ['see', 'read'] : ['see', 'read', 'operate', 'change']
    const link = new LinkAccess(address.port, roles)
    await using handler = createOperatorHandler({
      buses: Object.fromEntries(buses),
      authorize: byPassword ?? link.authorize,
      hosts: [...LOCAL_NAMES.map((name) => `${name}:${address.port}`), address.text, ...settings.allowHosts],
      ...(settings.archive !== undefined && {
        archive: archiveTo(resolve(terminal.workingDirectory, settings.archive)),
      }),
      ...(targets.every(({ production }) => production === true) && { environment: 'production' }),
    })
    server.on('request', operatorListener(handler))
    const query = byPassword === undefined ? link.query : ''
    terminal.err(
      `the page is at http://${address.text}/${query}${query === '' ? '' : ' (the link works once)'}; Ctrl-C ends it`,
    )
    const ends = forMs === undefined ? [] : [AbortSignal.timeout(forMs)]
    const ended = AbortSignal.any([terminal.interrupted, ...ends])
    if (!ended.aborted) await once(ended, 'abort')
    return EXIT.done
  } finally {
    server.closeAllConnections()
    server.close()
    await Promise.all([...buses.values()].map((bus) => bus.shutdown({ timeoutMs: 5000 })))
  }
}

const LOCAL_NAMES = ['localhost', '127.0.0.1', '[::1]']

/** The buses, without a connection. */
async function busesOf(
  targets: readonly BusTarget[],
  { eventModules }: UiSettings,
): Promise<ReadonlyMap<string, AnyEventBus>> {
  const buses = new Map<string, AnyEventBus>()
  for (const target of targets) {
    const modules = [...target.events, ...eventModules]
    const registry = new EventRegistry()
    if (modules.length > 0) for (const found of await loadEventClasses(modules)) registry.register(found)
    const name = target.name ?? target.options?.prefix ?? 'events'
    buses.set(name, createQuietBus({ ...target, options: { ...target.options, registry } }))
  }
  return buses
}

async function listen(
  server: Server,
  host: string,
  port: number,
): Promise<{ readonly text: string; readonly port: number }> {
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (thrown) {
    throw new UsageError(`The page cannot listen on ${host}:${port}: ${toError(thrown).message}`)
  }
  const bound = server.address()
  const actual = typeof bound === 'object' && bound !== null ? bound.port : port
  return { text: `${isIPv6(host) ? `[${host}]` : host}:${actual}`, port: actual }
}

/** Appends dead letters to a file, as `dlq archive` does. */
function archiveTo(file: string): (letters: readonly ExportedLetter[]) => Promise<void> {
  return (letters) =>
    appendFile(file, letters.map((letter) => `${JSON.stringify(letter)}\n`).join(''), { flush: true })
}
