import { defineEvent, firstVersion } from '../../index.ts'
import { numbered } from './events.ts'

const names = { type: 'ConformanceRolled', aggregateType: 'Note' }

/** The class of the release before a field is renamed. */
export class Before extends defineEvent({ ...names, schema: numbered }) {}

const upcasts = firstVersion(numbered).to(
  2,
  ({ n }) => ({ count: n }),
  ({ count }) => ({ n: count }),
)

/** The class of the release with the new name, which other releases can read while both run. */
export class During extends defineEvent<{ readonly count: number }>()({ ...names, upcasts, publishAs: 1 }) {}

/** The class of the release after that. */
export class Later extends defineEvent<{ readonly count: number }>()({ ...names, upcasts }) {}
