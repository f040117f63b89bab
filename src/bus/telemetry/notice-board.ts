import { toError } from '../../errors.ts'
import type { Logger } from '../../observability/logger.ts'
import type { BusNotice, BusNoticeListener } from '../../transport/notices.ts'
import type { BusCounters } from './bus-counters.ts'
import type { MessagingTarget } from './bus-spans.ts'

/** A subscription to notices. */
export interface NoticeSubscription extends Disposable {
  unsubscribe(): void
}

/** Counts and logs the notices of a transport, and passes them to the listeners. */
export class NoticeBoard {
  readonly #target: MessagingTarget
  readonly #counters: BusCounters
  readonly #logger: Logger
  readonly #listeners = new Set<BusNoticeListener>()

  constructor({ system, destination }: MessagingTarget, counters: BusCounters, logger: Logger) {
    this.#target = { system, destination }
    this.#counters = counters
    this.#logger = logger
  }

  subscribe(listener: BusNoticeListener): NoticeSubscription {
    this.#listeners.add(listener)
    const unsubscribe = () => {
      this.#listeners.delete(listener)
    }
    return { unsubscribe, [Symbol.dispose]: unsubscribe }
  }

  post(notice: BusNotice): void {
    this.#record(notice)
    for (const listener of this.#listeners) {
      try {
        listener(notice)
      } catch (error) {
        this.#logger.error('notice listener failed', { notice: notice.type, error: toError(error) })
      }
    }
  }

  #record(notice: BusNotice): void {
    const counters = this.#counters
    const fields = { ...this.#target }
    switch (notice.type) {
      case 'connectionLost':
        counters.connectedAt = 0
        counters.blockedReason = undefined
        counters.failed(notice.error)
        this.#logger.warn('connection lost, reconnecting', { ...fields, error: notice.error })
        break
      case 'reconnected':
        counters.reconnections += 1
        counters.connectedAt = Date.now()
        this.#logger.warn('reconnected', fields)
        break
      case 'publishingBlocked':
        counters.blockedReason = notice.reason
        this.#logger.warn('publishing blocked by the broker', { ...fields, reason: notice.reason })
        break
      case 'publishingResumed':
        counters.blockedReason = undefined
        this.#logger.warn('publishing resumed', fields)
        break
      case 'topologyRestored':
        this.#logger.warn('recreated missing topology', {
          ...fields,
          what: notice.what,
        })
        break
      case 'eventsLost':
        counters.failed(new Error(`The broker lost events: ${notice.detail}`))
        this.#logger.error('unhandled events lost by the broker', {
          ...fields,
          detail: notice.detail,
          count: notice.count,
        })
        break
      case 'readFailed':
        counters.failed(notice.error)
        this.#logger.error('reading from the broker failed, retrying', { ...fields, error: notice.error })
        break
      case 'partitionsAdded':
        this.#logger.warn('aggregates may have moved to other partitions', {
          ...fields,
          detail: notice.detail,
        })
        break
      case 'trimmingHeldBack':
        this.#logger.warn('trimming held back by a consumer group', {
          ...fields,
          group: notice.group,
          detail: notice.detail,
        })
        break
      case 'unassigned':
        this.#logger.warn('consumer without partitions receives no events', {
          ...fields,
          detail: notice.detail,
        })
        break
      case 'consumerNameTaken':
        this.#logger.warn('consumer name used by another process', { ...fields, detail: notice.detail })
        break
      case 'orderingDiffers':
        this.#logger.error('consumers of the group have different orderings', {
          ...fields,
          detail: notice.detail,
        })
        break
      case 'handlerPaused':
        counters.pausedHandlers.add(notice.handlerName)
        this.#logger.error('handler paused, its events fail for the same reason', {
          ...fields,
          handlerName: notice.handlerName,
          error: notice.error,
        })
        break
      case 'handlerResumed':
        counters.pausedHandlers.delete(notice.handlerName)
        this.#logger.warn('handler resumed', { ...fields, handlerName: notice.handlerName })
        break
      case 'groupPaused': {
        const { by, why, at } = notice
        this.#logger.warn('consumer group paused', { ...fields, by, why, at })
        break
      }
      case 'groupResumed':
        this.#logger.warn('consumer group resumed', fields)
        break
      case 'waitingLineLong': {
        const { handlerName, aggregateId, count, limit, isFull } = notice
        const line = { ...fields, handlerName, aggregateId, count, limit }
        if (isFull)
          this.#logger.error('too many events of an aggregate wait, further ones become dead letters', line)
        else this.#logger.warn('many events of an aggregate wait behind another one', line)
        break
      }
      case 'pendingClaimed':
        counters.messagesRecovered += notice.count
        this.#logger.info('took over messages from another consumer', { ...fields, count: notice.count })
        break
    }
  }
}
