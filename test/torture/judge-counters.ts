import { hits } from '../../src/verify/chronicle.ts'
import type { Finding } from '../../src/verify/rules.ts'
import type { TortureRule } from './torture-rules.ts'

/** 7: the counters of a process match its actions. */
export const countersAgree: TortureRule = (
  { processes, runs, publications, realFaults },
  { groups, heapGrowthBytes },
) =>
  [...processes.values()].flatMap(({ name, group, stats: fact }) => {
    if (fact === undefined) return []
    const { stats, heapBefore, heapAfter } = fact
    const own = runs.filter(({ process }) => process === name)
    const failed = own.filter(({ outcome }) => outcome === 'failed').length
    const finished = own.filter(({ outcome }) => outcome === 'finished').length
    const confirmed = [...publications.values()].filter(
      (it) => it.process === name && it.outcome === 'confirmed',
    )
    const isAlone = groups.find((it) => it.name === group)?.handlers.length === 1
    const settled = stats.eventsProcessedSuccess + stats.eventsProcessedFailed
    const wasHit = realFaults.some((fault) => hits(fault, name))
    const wrong: (string | false)[] = [
      stats.handlerErrors !== failed && `handlerErrors ${stats.handlerErrors}, and ${failed} runs failed`,
      stats.eventsPublished !== confirmed.length &&
        `eventsPublished ${stats.eventsPublished}, and ${confirmed.length} were confirmed`,
      stats.inFlight !== 0 && `inFlight ${stats.inFlight} after the shutdown`,
      stats.eventsConsumed !== settled &&
        `eventsConsumed ${stats.eventsConsumed}, and ${settled} are settled`,
      isAlone &&
        !wasHit &&
        stats.eventsProcessedSuccess !== finished &&
        `eventsProcessedSuccess ${stats.eventsProcessedSuccess}, and ${finished} runs finished`,
      heapAfter - heapBefore > heapGrowthBytes && `memory grew by ${heapAfter - heapBefore} bytes`,
    ]
    return wrong
      .filter((what) => what !== false)
      .map((what): Finding => ({ rule: 'conduct', message: `${name}: ${what}` }))
  })
