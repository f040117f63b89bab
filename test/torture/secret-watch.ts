import { inspect } from 'node:util'
import type { Logger } from '../../src/index.ts'
import type { LogFields } from '../../src/observability/logger.ts'

/** The user that the processes of a run connect as. */
export const USER = 'tortured'
/** The password of that user, which nothing may show. */
export const CANARY = 'Tr0ub4dor-Torture-Canary'

const FORMS = [CANARY, Buffer.from(CANARY).toString('base64').replaceAll('=', '')]

/** Looks for the password in everything that a process shows. */
export class SecretWatch {
  readonly #report: (what: string) => void
  /** Looks at each line, and shows none. */
  readonly logger: Logger

  /** @param report - is called with what showed the password. */
  constructor(report: (what: string) => void) {
    this.#report = report
    const look = (sentence: string, fields?: LogFields) =>
      this.look(`log line "${sentence}"`, [sentence, fields])
    this.logger = { debug: look, info: look, warn: look, error: look }
  }

  look(what: string, value: unknown): void {
    const text = shownBy(value)
    if (FORMS.some((form) => text.includes(form))) this.#report(what)
  }
}

/** Everything that a value shows to a logger, a debugger or a response. */
function shownBy(value: unknown): string {
  const texts = [inspect(value, { depth: 9, showHidden: true, maxStringLength: null, maxArrayLength: null })]
  for (let error = value; error instanceof Error; error = error.cause)
    texts.push(error.message, error.stack ?? '', JSON.stringify(error))
  return texts.join('\n')
}
