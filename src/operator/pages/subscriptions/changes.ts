import { toError } from '../../../errors.ts'
import type { SubscriptionManager } from '../../../subscriptions/index.ts'
import type { RequestContext } from '../../context.ts'
import { HttpError } from '../../http-error.ts'
import type { Done } from '../../route.ts'
import { answered, within } from './answered.ts'
import { Rebuilds } from './rebuilds.ts'

/** How long a form waits for running handlers, and for a rebuild that is refused at once, in milliseconds. */
const WAIT_MS = { pause: 2000, rebuild: 300 }

/** Starts no further event of a subscription. */
export async function pause(context: RequestContext): Promise<Done> {
  const { manager, name, back } = await subject(context)
  const { isLate } = await within(manager.pause(name), WAIT_MS.pause)
  return back(isLate ? `Paused ${name}. A handler is still running; no other one starts.` : `Paused ${name}.`)
}

export async function resume(context: RequestContext): Promise<Done> {
  const { manager, name, back } = await subject(context)
  manager.resume(name)
  return back(`Resumed ${name}.`)
}

/** Resets a projection, and passes all events to it again, while the page shows how far it is. */
export async function rebuild(context: RequestContext): Promise<Done> {
  const { manager, managerName, name, back } = await subject(context)
  const why = context.field('why')
  const rebuilds = context.state(Rebuilds.key)
  if (rebuilds.get(managerName, name)?.isRunning === true) {
    throw new HttpError(409, `${name} is being rebuilt already.`)
  }
  const running = manager.rebuild(name)
  const ended = rebuilds.note([managerName, name], context.viewer.name, running)
  // A rebuild that is refused fails at once.
  await within(running, WAIT_MS.rebuild).catch((thrown: unknown) => {
    throw new HttpError(409, toError(thrown).message)
  })
  void ended.then(({ report, error }) =>
    context.activity
      .start({
        action: 'subscriptions.rebuilt',
        state: error === undefined ? 'done' : 'failed',
        by: context.viewer.name,
        why,
        bus: context.busName,
        target: { manager: managerName, subscription: name },
        count: report?.eventsHandled ?? 0,
        text: error === undefined ? `Rebuilt ${name}.` : context.mask.text(error.message),
      })
      .catch(() => undefined),
  )
  return back(`The rebuild of ${name} has started.`)
}

interface Subject {
  readonly manager: SubscriptionManager
  readonly managerName: string
  readonly name: string
  readonly back: (text: string) => Done
}

/** The subscription of the path. @throws HttpError 404 */
async function subject(context: RequestContext): Promise<Subject> {
  const [managerName, name] = [context.param('manager'), context.param('subscription')]
  const manager = context.subscriptions.get(managerName)
  const status = await (manager === undefined ? undefined : answered(manager.status()))
  if (manager === undefined || status === undefined || !Object.hasOwn(status, name)) {
    throw new HttpError(404, `There is no subscription ${name} of ${managerName} in this program.`)
  }
  const back = (text: string): Done => ({ goTo: context.links.bus(['subscriptions']), text })
  return { manager, managerName, name, back }
}
