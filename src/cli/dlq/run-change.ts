import { appendFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { BulkOptions, DeadLetter, DeadLetterFilter, ExportedLetter } from '../../bus/index.ts'
import { confirmed } from '../confirm.ts'
import { EXIT, type ExitCode, UsageError } from '../exit-code.ts'
import { plain } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { actorOf, lettersOf, type OpenDlq, progressTo } from './context.ts'
import { noLetter } from './run-read.ts'

/** What all changes have in common. */
export interface ChangeSettings {
  /** Ids of dead letters; empty if a filter chooses them. */
  readonly ids: readonly string[]
  readonly filter: DeadLetterFilter | undefined
  readonly isAll: boolean
  readonly limit: number | undefined
  readonly ratePerSecond: number | undefined
  readonly isDryRun: boolean
  readonly isYes: boolean
  readonly by: string | undefined
  readonly reason: string | undefined
  readonly isJson: boolean
  readonly terminal: Terminal
}

/** A change of dead letters, in words and in deed. */
interface Change {
  /** Such as `replay`. */
  readonly verb: string
  /** Such as `replayed`. */
  readonly done: string
  readonly one: (id: string) => Promise<boolean>
  readonly many: (filter: DeadLetterFilter, options: BulkOptions) => Promise<number>
}

interface ReplaySettings extends ChangeSettings {
  readonly group: string | undefined
  readonly handlers: readonly string[]
  readonly batchSize: number | undefined
}

export async function replayLetters(open: OpenDlq, settings: ReplaySettings): Promise<ExitCode> {
  const { group, handlers, batchSize } = settings
  const { deadLetters } = open.bus
  const to = {
    ...(group !== undefined && { group }),
    ...(handlers.length > 0 && { handlers }),
  }
  const [id] = settings.ids
  const only = id === undefined || settings.ids.length > 1 ? undefined : await deadLetters.get(id)
  const code = await change(open, settings, {
    ...{ verb: 'replay', done: 'replayed' },
    one: (id) => deadLetters.replay(id, { ...to, ...actorOf(settings) }),
    many: (filter, options) =>
      deadLetters.replayAll(filter, { ...to, ...options, ...(batchSize !== undefined && { batchSize }) }),
  })
  if (only !== undefined && code === EXIT.done) tellOfOne(open, settings, only)
  return code
}

/** Names the event of the only dead letter, and the command that shows what becomes of it. */
function tellOfOne(
  { target }: OpenDlq,
  { isDryRun, group, handlers, terminal }: ReplaySettings,
  letter: DeadLetter,
): void {
  const { eventId, eventType = 'the event', aggregateId, consumerGroup } = letter
  const run = handlers.length > 0 ? handlers : (letter.handlerNames ?? [])
  const to = [run.join(', '), group ?? consumerGroup].filter(Boolean).join(' of ')
  const what = [eventType, aggregateId === undefined ? '' : ` of ${aggregateId}`, to && ` to ${to}`]
  terminal.err(plain(what.join('')))
  if (isDryRun || eventId === undefined) return
  const words = [eventId, ...(aggregateId === undefined ? [] : ['--aggregate', aggregateId])].map(plain)
  terminal.err(`what has become of it: ${['eventspine explain', ...words, ...target.words].join(' ')}`)
}

/** @param file - gets the dead letters before they are removed; undefined to keep no copy. */
export async function removeLetters(
  open: OpenDlq,
  settings: ChangeSettings,
  file: string | undefined,
): Promise<ExitCode> {
  const { deadLetters } = open.bus
  const path = file === undefined ? undefined : resolve(settings.terminal.workingDirectory, file)
  const write = (letters: readonly ExportedLetter[]) =>
    appendFile(path ?? '', letters.map((letter) => `${JSON.stringify(letter)}\n`).join(''), { flush: true })
  const code = await change(open, settings, {
    ...{ verb: path === undefined ? 'purge' : 'archive', done: 'removed' },
    one: async (id) => {
      if (path === undefined) return (await deadLetters.purge(id, actorOf(settings))) > 0
      throw new UsageError('Dead letters that are named by their ids are removed with purge --no-backup.')
    },
    many: (filter, options) =>
      path === undefined ? deadLetters.purge(filter, options) : deadLetters.archive(filter, write, options),
  })
  if (path !== undefined && !settings.isDryRun) settings.terminal.err(`copies: ${path}`)
  return code
}

async function change(open: OpenDlq, settings: ChangeSettings, what: Change): Promise<ExitCode> {
  const { ids, terminal } = settings
  if ([ids.length > 0, settings.filter !== undefined, settings.isAll].filter(Boolean).length !== 1) {
    throw new UsageError(`Name the dead letters to ${what.verb}: ids, --filter '<line>' or --all.`)
  }
  const filter = settings.filter ?? {}
  const { limit, ratePerSecond } = settings
  const options = {
    ...(limit !== undefined && { limit }),
    ...(ratePerSecond !== undefined && { ratePerSecond }),
  }
  const found = ids.length > 0 ? ids.length : await what.many(filter, { ...options, dryRun: true })
  if (settings.isDryRun) return report(settings, `would ${what.verb}`, found)
  if (found > 0 && !(await confirmed(settings, open.target, `${what.verb} ${lettersOf(found)}`))) {
    return report(settings, what.done, 0)
  }
  if (ids.length > 0) return changeEach(settings, what)
  const { interrupted: signal } = terminal
  let changed = 0
  const progress = progressTo(terminal, what.done)
  try {
    changed = await what.many(filter, {
      ...options,
      ...actorOf(settings),
      signal,
      onProgress: (at) => {
        changed = at.changed
        progress(at)
      },
    })
  } catch (thrown) {
    await report(settings, what.done, changed)
    throw thrown
  }
  await report(settings, what.done, changed)
  return signal.aborted ? EXIT.interrupted : EXIT.done
}

async function changeEach(settings: ChangeSettings, { done, one }: Change): Promise<ExitCode> {
  const missing: string[] = []
  for (const id of settings.ids) if (!(await one(id))) missing.push(id)
  await report(settings, done, settings.ids.length - missing.length)
  const [first] = missing
  if (first !== undefined) throw noLetter(first)
  return EXIT.done
}

async function report(
  { isJson, isDryRun, terminal }: ChangeSettings,
  done: string,
  count: number,
): Promise<ExitCode> {
  if (isJson) await terminal.out(JSON.stringify({ version: 1, count, isDryRun }))
  terminal.err(`${done} ${lettersOf(count)}`)
  return EXIT.done
}
