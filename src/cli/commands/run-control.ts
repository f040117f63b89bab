import { counted } from '../../kit/counted.ts'
import { confirmed } from '../confirm.ts'
import { actorOf } from '../dlq/context.ts'
import { EXIT, type ExitCode, UsageError } from '../exit-code.ts'
import { openBus } from '../open-bus.ts'
import type { BusTarget } from '../target.ts'
import type { Terminal } from '../terminal.ts'

/** What each change of a group needs. */
export interface ControlSettings {
  /** Of the group. */
  readonly name: string
  readonly by: string | undefined
  readonly reason: string | undefined
  readonly isYes: boolean
  readonly isJson: boolean
  readonly terminal: Terminal
}

export async function pauseGroup(
  target: BusTarget,
  settings: ControlSettings & { readonly waitMs: number | undefined },
): Promise<ExitCode> {
  const { name, waitMs = 0, isJson, terminal } = settings
  if (settings.reason === undefined) {
    throw new UsageError(`--reason is needed: eventspine pause ${name} --reason '<why>'.`)
  }
  await using bus = await openBus(target)
  await bus.admin.group(name)
  if (!(await mayChange(target, settings, `pause the group ${name}`))) return EXIT.failed
  const paused = await bus.admin.pause(name, { ...actorOf(settings), waitMs })
  if (isJson) await terminal.out(JSON.stringify({ version: 1, group: name, paused }))
  else {
    const then =
      waitMs > 0
        ? 'no handler of it runs any more'
        : 'its consumers stop within two seconds, and running handlers end'
    terminal.err(`paused the group ${name}; ${then}`)
  }
  return EXIT.done
}

export async function resumeGroup(target: BusTarget, settings: ControlSettings): Promise<ExitCode> {
  const { name, isJson, terminal } = settings
  await using bus = await openBus(target)
  if (!(await mayChange(target, settings, `resume the group ${name}`))) return EXIT.failed
  const resumed = await bus.admin.resume(name, actorOf(settings))
  if (isJson) await terminal.out(JSON.stringify({ version: 1, group: name, resumed }))
  else terminal.err(resumed ? `resumed the group ${name}` : `the group ${name} was not paused`)
  return EXIT.done
}

export async function seekGroup(
  target: BusTarget,
  settings: ControlSettings & { readonly to: Date | string | undefined; readonly isDryRun: boolean },
): Promise<ExitCode> {
  const { name, to, isDryRun, isJson, terminal } = settings
  if (to === undefined) throw new UsageError('--to is needed: first, last, a time or a position.')
  await using bus = await openBus(target)
  const { events } = await bus.admin.seek(name, to, { dryRun: true })
  const what = `move the group ${name} to a place with ${counted(events, 'event')} behind it`
  if (!isDryRun && !(await confirmed(settings, target, what))) {
    terminal.err('nothing was changed')
    return EXIT.failed
  }
  const outcome = isDryRun ? { events, isMoved: false } : await bus.admin.seek(name, to, actorOf(settings))
  if (isJson) await terminal.out(JSON.stringify({ version: 1, group: name, ...outcome }))
  else
    terminal.err(
      `${isDryRun ? 'would move' : 'moved'} the group ${name}, which gets ${counted(outcome.events, 'event')}`,
    )
  return EXIT.done
}

/** A pause can be undone, so only the user of a production bus is asked. */
async function mayChange(target: BusTarget, settings: ControlSettings, what: string): Promise<boolean> {
  if (target.production !== true || (await confirmed(settings, target, what))) return true
  settings.terminal.err('nothing was changed')
  return false
}
