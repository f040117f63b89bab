/** Limits of one round of deliveries. */
export interface DeliveryLimits {
  /** Records of this partition that may be held. It leaves room for the other partitions if this one is stuck. */
  readonly share: number
  /** Records of all partitions that may still be delivered: an upper bound on redelivery after a crash. */
  readonly allowance: { left: number }
  /** Offsets between the first unfinished record and the last delivered one. */
  readonly window: number
}
