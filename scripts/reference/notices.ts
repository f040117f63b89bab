import { commentBefore } from './interfaces.ts'
import { table } from './tables.ts'

/** The buses that can emit a notice, by the mark in its description. */
const BROKERS = /\s*\((Redis|RabbitMQ|Kafka|an alarm of RabbitMQ)\)/

/** The table of the notices: the type, its fields and its meaning. */
export function noticesTable(): string {
  const path = 'src/transport/notices.ts'
  const items = commentBefore(path, 'export type BusNotice =')
    .join('\n')
    .split(/\n- /)
    .slice(1)
    .map((item) => item.replace(/\s+/g, ' ').trim())
  const rows = items.map((item) => {
    const [, type = '', meaning = ''] = /^`(\w+)`: (.*)$/.exec(item) ?? []
    const on = BROKERS.exec(meaning)?.[1]?.replace('an alarm of ', '') ?? 'every broker bus'
    return [`\`${type}\``, meaning.replace(/ \((Redis|Kafka)\)/, ''), on]
  })
  return table(['notice', 'meaning', 'on'], rows)
}
