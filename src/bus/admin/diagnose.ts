import { EventspineError, sentence, toError } from '../../errors.ts'
import { counted } from '../../kit/counted.ts'
import type { GroupInfo } from '../../transport/admin.ts'
import { type Check, type Problem, type TransportCheckup, warning } from '../../transport/checkup.ts'
import type { Finding } from '../finding.ts'

/** How to fix a failure to connect, by its text. The first match counts; the text itself may have the remedy, too. */
const REMEDIES: readonly (readonly [pattern: RegExp, remedy: string])[] = [
  [/has expired|CERT_HAS_EXPIRED/i, 'Renew the certificate of the server.'],
  [/altname|another host name/i, 'Connect by a name that is in the certificate of the server.'],
  [
    /wrong version number|packet length|requires TLS|agree on TLS|closed the connection|closed (?:unexpectedly|abruptly)|connection closed|ECONNRESET|EPIPE|socket hang up/i,
    'Check whether this port expects TLS: rediss://, amqps:// or securityProtocol with it, redis://, amqp:// or PLAINTEXT without.',
  ],
  [
    /self.signed|unable to (verify|get)|not trusted|CERT_|certificate/i,
    'Pass the certificate authority of the server.',
  ],
  [/ENOTFOUND|EAI_AGAIN/, 'Check the host name in the URL, and the name resolution of this machine.'],
  [/ECONNREFUSED/, 'Start the broker, or check host and port.'],
  [
    /EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|not connected within|timed out|no answer/i,
    'Check host, port and firewall, and whether this port speaks TLS.',
  ],
]

/** Runs the checks one after the other. */
export async function* diagnose(checkup: TransportCheckup): AsyncGenerator<Finding> {
  try {
    const connected = await attempt(checkup)
    yield connected
    if (connected.level === 'fault') return
    const groups = { name: 'groups', run: async () => groupProblems(await checkup.groups()) }
    for (const check of [...checkup.checks, groups]) yield* findingsOf(check)
  } finally {
    await checkup.close()
  }
}

async function attempt(checkup: TransportCheckup): Promise<Finding> {
  try {
    return { check: 'connection', level: 'ok', text: await checkup.open(), remedy: undefined }
  } catch (thrown) {
    const error = toError(thrown)
    const code = error instanceof EventspineError ? error.code : undefined
    const known = REMEDIES.find(([pattern]) => pattern.test(error.message))?.[1]
    const remedy = known ?? (code === undefined ? 'Check the URL.' : `See ${code} in docs/errors.md.`)
    return { check: 'connection', level: 'fault', text: sentence(error.message), remedy }
  }
}

async function* findingsOf({ name, run }: Check<void>): AsyncGenerator<Finding> {
  try {
    const problems = await run()
    if (problems.length === 0) yield { check: name, level: 'ok', text: '', remedy: undefined }
    for (const problem of problems) yield { check: name, ...problem }
  } catch (thrown) {
    const text = sentence(`This could not be checked: ${toError(thrown).message}`)
    yield { check: name, level: 'unknown', text, remedy: undefined }
  }
}

/** What the state of the groups says on every broker. */
function groupProblems(groups: readonly GroupInfo[]): readonly Problem[] {
  return groups.flatMap(({ name, members, lag, deadLetters }) => [
    ...(members > 0
      ? []
      : [
          warning(
            `Nobody consumes for the group ${name}, and ${lag === undefined ? 'an unknown number of events wait' : counted(lag, 'event waits', 'events wait')} for it.`,
            `Start a consumer, or remove the group: eventspine groups delete '${name}'`,
          ),
        ]),
    ...(deadLetters === 0
      ? []
      : [
          warning(
            `The group ${name} has ${counted(deadLetters, 'dead letter')}.`,
            `Look at their errors, and replay them: eventspine dlq summary --filter 'group:${name}'`,
          ),
        ]),
  ])
}
