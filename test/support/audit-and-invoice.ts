/**
 * Two handlers of one event: `audit` succeeds, `invoice` waits for the gate and fails in its first run.
 * @param subscribe - subscribes one of them.
 */
export function auditAndInvoice(subscribe: (name: string, handler: () => unknown) => unknown) {
  const gate = Promise.withResolvers<void>()
  const runs: string[] = []
  subscribe('audit', () => void runs.push('audit'))
  subscribe('invoice', async () => {
    runs.push('invoice')
    const isFirst = runs.length === 2
    await gate.promise
    if (isFirst) throw new Error('planned')
  })
  return { gate, runs }
}
