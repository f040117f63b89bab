import type { Delivery, Intake, Transport } from '../../src/index.ts'

/** The fault of a broken transport. */
export type Breakage =
  | 'acksTooEarly'
  | 'forgetsOrder'
  | 'dropsLane'
  | 'claimsToPublish'
  | 'deliversTwice'
  | 'keepsUnsettled'
  | 'leavesTimer'

/** A transport that works except for one fault. */
export function broken(transport: Transport, breakage: Breakage): Transport {
  return {
    system: transport.system,
    destination: transport.destination,
    deadLetters: transport.deadLetters,
    connect: () => transport.connect(),
    lag: () => transport.lag(),
    close: (signal) => {
      if (breakage === 'leavesTimer') setTimeout(() => undefined, 5000)
      return transport.close(signal)
    },
    publish: (messages, signal) =>
      transport.publish(breakage === 'claimsToPublish' ? messages.slice(1) : messages, signal),
    consume: (intake) => transport.consume(brokenIntake(intake, breakage)),
  }
}

function brokenIntake(intake: Intake, breakage: Breakage): Intake {
  return {
    get room() {
      return intake.room
    },
    get roomBytes() {
      return intake.roomBytes
    },
    whenRoom: () => intake.whenRoom(),
    deliver: (delivery) => {
      for (const given of tamper(delivery, breakage)) intake.deliver(given)
    },
  }
}

function tamper(delivery: Delivery, breakage: Breakage): readonly Delivery[] {
  const { message } = delivery
  switch (breakage) {
    case 'claimsToPublish':
    case 'leavesTimer':
      return [delivery]
    case 'keepsUnsettled':
      if (message.key?.endsWith('-1') !== true) return [delivery]
      return [changed(delivery, { ack: () => undefined })]
    case 'acksTooEarly':
      delivery.ack()
      return [changed(delivery, { ack: () => undefined })]
    case 'forgetsOrder':
      return [changed(delivery, { message: { ...message, key: undefined } })]
    case 'dropsLane':
      if (message.key?.endsWith('-1') !== true) return [delivery]
      delivery.ack()
      return []
    case 'deliversTwice':
      return [delivery, changed(delivery, { ack: () => undefined })]
  }
}

function changed(delivery: Delivery, changes: Partial<Delivery>): Delivery {
  return {
    message: delivery.message,
    deliveryCount: delivery.deliveryCount,
    settledHandlers: delivery.settledHandlers,
    begin: () => delivery.begin(),
    beginAttempt: (attempt, settled) => delivery.beginAttempt(attempt, settled),
    attemptFailed: (attempt, settled) => delivery.attemptFailed(attempt, settled),
    ack: () => delivery.ack(),
    deadLetter: (reason) => delivery.deadLetter(reason),
    ...changes,
  }
}
