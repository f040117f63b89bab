import type { AnyCommand } from './command.ts'
import { completion } from './commands/completion.ts'
import { control } from './commands/control.ts'
import { dlq } from './commands/dlq.ts'
import { doctor } from './commands/doctor.ts'
import { events } from './commands/events.ts'
import { explaining } from './commands/explain.ts'
import { exporter } from './commands/exporter.ts'
import { groups } from './commands/groups.ts'
import { migrate } from './commands/migrate.ts'
import { presence } from './commands/presence.ts'
import { publish } from './commands/publish.ts'
import { schema } from './commands/schema.ts'
import { subscriptions } from './commands/subscriptions.ts'
import { ui } from './commands/ui.ts'
import { verify } from './commands/verify.ts'

/** All commands, in the order of the help. */
export const commands: readonly AnyCommand[] = [
  doctor,
  verify,
  ...groups,
  ...presence,
  ...control,
  ...events,
  ...explaining,
  publish,
  ...dlq,
  subscriptions,
  ui,
  exporter,
  migrate,
  schema,
  completion,
]
