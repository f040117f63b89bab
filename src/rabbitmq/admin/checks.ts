import { randomUUID } from 'node:crypto'
import { settledUntil } from '../../kit/time.ts'
import { type Check, fault, type Problem, unknown, warning } from '../../transport/checkup.ts'
import type { AmqpChannel, AmqpConnection } from '../client/client.ts'
import { closeConnection } from '../client/closing.ts'
import type { WithChannel } from '../client/connection.ts'
import { RabbitMQTopology } from '../client/topology.ts'
import { refusalOf } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'

export interface RabbitMQCheckContext {
  readonly options: ResolvedRabbitMQOptions
  readonly withChannel: WithChannel
  /** Opens a further connection, which the caller closes. */
  readonly dial: () => Promise<AmqpConnection>
  /** True once an alarm was found: the broker does not read from a connection that publishes. */
  hasAlarm: boolean
}

type Refusal = ReturnType<typeof refusalOf>

const FORBIDDEN = 403
const NOT_FOUND = 404
const PRECONDITION_FAILED = 406
/** How long the broker may take to confirm or to report an alarm, in milliseconds. */
const ANSWER_MS = 3000
const CLOSE_TIMEOUT_MS = 500

/** All checks of RabbitMQ. */
export const RABBITMQ_CHECKS: readonly Check<RabbitMQCheckContext>[] = [
  { name: 'rabbitmq-exchange', run: exchangeProblems },
  { name: 'rabbitmq-queues', run: queueProblems },
  // Before the rights, because an alarm decides which of them can be checked.
  { name: 'rabbitmq-alarm', run: alarmProblems },
  { name: 'rabbitmq-rights', run: rightProblems },
  {
    name: 'rabbitmq-clock',
    run: () => Promise.resolve([unknown('RabbitMQ does not report its time, so its clock is unknown.')]),
  },
]

/** Tries a command on a channel of its own, which the broker closes if it refuses the command. */
function refused(
  { withChannel }: RabbitMQCheckContext,
  command: (channel: AmqpChannel) => Promise<unknown>,
): Promise<Refusal> {
  return withChannel(async (channel) => {
    try {
      await command(channel)
      return undefined
    } catch (thrown) {
      const refusal = refusalOf(thrown)
      if (refusal === undefined) throw thrown
      return refusal
    }
  })
}

/** Declaring what exists with the same arguments changes nothing, and the broker refuses others. */
async function exchangeProblems(context: RabbitMQCheckContext): Promise<readonly Problem[]> {
  const { names, exchangeType, durable, autoDelete } = context.options
  const { exchange } = names
  const missing = await refused(context, (channel) => channel.checkExchange(exchange))
  if (missing?.code === NOT_FOUND) return []
  const refusal = await refused(context, (channel) =>
    channel.assertExchange(exchange, exchangeType, { durable, autoDelete }),
  )
  return declarationProblem(context.options, 'exchange', exchange, refusal)
}

async function queueProblems(context: RabbitMQCheckContext): Promise<readonly Problem[]> {
  if (context.options.broadcast) return []
  const problems: Problem[] = []
  for (const [queue, options] of new RabbitMQTopology(context.options).declared) {
    const missing = await refused(context, (channel) => channel.checkQueue(queue))
    if (missing?.code === NOT_FOUND) continue
    const refusal = await refused(context, (channel) => channel.assertQueue(queue, options))
    problems.push(...declarationProblem(context.options, 'queue', queue, refusal))
  }
  return problems
}

function declarationProblem(
  options: ResolvedRabbitMQOptions,
  kind: 'exchange' | 'queue',
  name: string,
  refusal: Refusal,
): readonly Problem[] {
  if (refusal === undefined) return []
  if (refusal.code === FORBIDDEN) return [missingRight(options, 'configure', name)]
  const what = `The ${kind} ${name}`
  if (refusal.code === PRECONDITION_FAILED) {
    const { vhost } = loginOf(options)
    const deletion =
      kind === 'queue'
        ? `rabbitmqctl delete_queue -p '${vhost}' '${name}'`
        : `rabbitmqadmin -V '${vhost}' delete exchange 'name=${name}'`
    const remedy = `Use the same options or another name, or delete it: ${deletion}`
    return [fault(`${what} exists with other arguments: ${refusal.text}.`, remedy)]
  }
  return [fault(`${what} cannot be declared: ${refusal.text}.`, 'Fix the cause that the broker reports.')]
}

function missingRight(
  options: ResolvedRabbitMQOptions,
  right: 'configure' | 'write' | 'read',
  name: string,
): Problem {
  return fault(`The user has no right to ${right} ${name}.`, grantOf(options))
}

/** The command that grants the documented rights. It replaces those that the user has in the virtual host. */
function grantOf(options: ResolvedRabbitMQOptions): string {
  const { vhost, user } = loginOf(options)
  const [exchange, suffix] = [options.exchangeName, options.dlqExchangeSuffix].map((text) =>
    text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'),
  )
  const own = `^${exchange}(${suffix})?(\\..*)?$`
  const patterns = [own, `${own}|^amq\\.default$`, own].map((pattern) => `'${pattern}'`).join(' ')
  return `Add these to the patterns of the user: rabbitmqctl set_permissions -p '${vhost}' '${user}' ${patterns}`
}

function loginOf({ endpoints }: ResolvedRabbitMQOptions): { readonly vhost: string; readonly user: string } {
  const { pathname, username } = new URL(endpoints[0]?.url ?? 'amqp://localhost')
  return {
    vhost: decodeURIComponent(pathname.slice(1)) || '/',
    user: decodeURIComponent(username) || 'guest',
  }
}

/** The broker checks the rights before the properties of a message and the arguments of a consumer, which are wrong here. */
async function rightProblems(context: RabbitMQCheckContext): Promise<readonly Problem[]> {
  const { names } = context.options
  const [read = names.queue] = new RabbitMQTopology(context.options).queues
  const problems: Problem[] = []
  const exchanges = context.hasAlarm ? [] : [names.exchange, '', names.deadLetterExchange]
  if (context.hasAlarm)
    problems.push(unknown('The rights to write are unknown while the broker has an alarm.'))
  for (const exchange of exchanges) {
    const refusal = await refusedPublish(context, exchange)
    if (refusal?.code !== FORBIDDEN) continue
    problems.push(missingRight(context.options, 'write', exchange === '' ? 'amq.default' : exchange))
  }
  for (const queue of [read, names.deadLetterQueue]) {
    const refusal = await refused(context, (channel) =>
      channel.consume(queue, () => undefined, { arguments: { 'x-priority': 'not a number' } }),
    )
    if (refusal?.code === FORBIDDEN) problems.push(missingRight(context.options, 'read', queue))
  }
  return problems
}

/** Publishes a message that the broker refuses because of its expiration, or before it because of a missing right. */
function refusedPublish({ withChannel }: RabbitMQCheckContext, exchange: string): Promise<Refusal> {
  return withChannel(async (channel) => {
    const failed = Promise.withResolvers<Error>()
    channel.on('error', failed.resolve)
    const wrong = { mandatory: false, expiration: 'not a number' }
    channel.publish(exchange, `doctor.${randomUUID()}`, Buffer.alloc(0), wrong)
    if (!(await settledUntil(failed.promise, AbortSignal.timeout(ANSWER_MS)))) {
      throw new Error('the broker did not answer')
    }
    return refusalOf(await failed.promise)
  })
}

/**
 * A broker with an alarm reports it when a connection publishes, and reads nothing from it after that. The message goes to no
 * queue.
 */
async function alarmProblems(context: RabbitMQCheckContext): Promise<readonly Problem[]> {
  const connection = await context.dial()
  connection.on('error', () => undefined)
  const answer = Promise.withResolvers<string | undefined>()
  connection.on('blocked', answer.resolve)
  try {
    const channel = await connection.createConfirmChannel()
    channel.on('error', (error) => answer.reject(error))
    channel.publish('', `doctor.${randomUUID()}`, Buffer.alloc(0), { mandatory: false }, () =>
      answer.resolve(undefined),
    )
    const isAnswered = await settledUntil(
      answer.promise.catch(() => undefined),
      AbortSignal.timeout(ANSWER_MS),
    )
    if (!isAnswered) return [unknown('The broker did not confirm a message, and reported no alarm.')]
    const reason = await answer.promise
    context.hasAlarm = reason !== undefined
    return reason === undefined
      ? []
      : [
          fault(
            `The broker accepts no publishes: ${reason}.`,
            'Free memory or disk of the broker: rabbitmqctl status',
          ),
        ]
  } catch (thrown) {
    const refusal = refusalOf(thrown)
    if (refusal?.code !== FORBIDDEN) throw thrown
    return [
      warning('The user may not publish to amq.default, so alarms are unknown.', grantOf(context.options)),
    ]
  } finally {
    await closeConnection(connection, AbortSignal.timeout(CLOSE_TIMEOUT_MS))
  }
}
