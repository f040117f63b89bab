import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { toError } from '../../errors.ts'
import { confirmed } from '../confirm.ts'
import { EXIT, type ExitCode, UsageError } from '../exit-code.ts'
import { plain } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { actorOf, type OpenDlq } from './context.ts'
import { noLetter } from './run-read.ts'

type Payload = Readonly<Record<string, unknown>>

export interface EditSettings {
  readonly id: string
  /** JSON that replaces fields of the payload, or `@file` with it; undefined to open an editor. */
  readonly patch: string | undefined
  readonly isDryRun: boolean
  readonly isYes: boolean
  readonly by: string | undefined
  readonly reason: string | undefined
  readonly isJson: boolean
  readonly terminal: Terminal
}

/** Replays an edited copy of a dead letter, after it has shown the difference. */
export async function editLetter(open: OpenDlq, settings: EditSettings): Promise<ExitCode> {
  const { id, terminal, isJson } = settings
  const { deadLetters } = open.bus
  const letter = await deadLetters.get(id)
  if (letter === undefined) throw noLetter(id)
  const before = deadLetters.storedEvent(letter)?.data ?? {}
  const after = await editedPayload(before, settings)
  const lines = differences(before, after)
  if (lines.length === 0) {
    terminal.err('nothing is changed')
    return EXIT.done
  }
  for (const line of lines) terminal.err(line)
  if (settings.isDryRun) return EXIT.done
  if (!(await confirmed(settings, open.target, 'replay the edited event'))) return EXIT.done
  const replayed = await deadLetters.replayEdited(id, { payload: after }, actorOf(settings))
  if (replayed === undefined) throw noLetter(id)
  if (isJson) await terminal.out(JSON.stringify({ version: 1, eventId: replayed.eventId }))
  terminal.err(`replayed as event ${replayed.eventId}`)
  return EXIT.done
}

async function editedPayload(before: Payload, settings: EditSettings): Promise<Payload> {
  const { patch, terminal } = settings
  if (patch === undefined) return objectIn(await inEditor(before, terminal))
  const text = patch.startsWith('@')
    ? await readFile(resolve(terminal.workingDirectory, patch.slice(1)), 'utf8')
    : patch
  const edited: Record<string, unknown> = { ...before, ...objectIn(text) }
  for (const [name, value] of Object.entries(edited)) if (value === null) delete edited[name]
  return edited
}

async function inEditor(before: Payload, { ask, environment }: Terminal): Promise<string> {
  const editor = environment['VISUAL'] ?? environment['EDITOR']
  if (editor === undefined || ask === undefined) {
    throw new UsageError(`Give the new fields with --patch '{"total":10}', or set EDITOR on a terminal.`)
  }
  const folder = await mkdtemp(join(tmpdir(), 'eventspine-'))
  try {
    const file = join(folder, 'payload.json')
    await writeFile(file, `${JSON.stringify(before, undefined, 2)}\n`, { mode: 0o600 })
    // EDITOR may have arguments.
    const { status } = spawnSync('sh', ['-c', `${editor} "$1"`, 'sh', file], { stdio: 'inherit' })
    if (status !== 0) throw new UsageError(`${editor} ended with ${status}; nothing was done.`)
    return await readFile(file, 'utf8')
  } finally {
    await rm(folder, { recursive: true })
  }
}

function objectIn(text: string): Payload {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  } catch (thrown) {
    throw new UsageError(`The payload is not JSON: ${toError(thrown).message}`)
  }
  throw new UsageError('The payload must be a JSON object.')
}

function differences(before: Payload, after: Payload): readonly string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...names].flatMap((name) => {
    if (isDeepStrictEqual(before[name], after[name])) return []
    const old = name in before ? [`- ${line(name, before[name])}`] : []
    return name in after ? [...old, `+ ${line(name, after[name])}`] : old
  })
}

const line = (name: string, value: unknown) => plain(`${name}: ${JSON.stringify(value)}`)
