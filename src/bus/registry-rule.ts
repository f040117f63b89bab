import { otherCopyFault } from '../events/copies.ts'
import { EventRegistry } from '../events/index.ts'
import type { OptionRule } from '../kit/options.ts'

export const registryRule: OptionRule = {
  rule: 'an EventRegistry',
  isValid: (value) => value instanceof EventRegistry,
  explain: otherCopyFault,
}
