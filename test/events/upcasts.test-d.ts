import { expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import { defineEvent, firstVersion } from '../../src/index.ts'

const named = { type: 'OrderCreated', aggregateType: 'Order' }
const v1 = firstVersion(z.object({ customer: z.string() }))

it('infers the input of each step from the previous one', () => {
  v1.to(2, (payload) => {
    expectTypeOf(payload).toEqualTypeOf<{ customer: string }>()
    return { customerId: payload.customer }
  }).to(3, (payload) => {
    expectTypeOf(payload).toEqualTypeOf<{ customerId: string }>()
    return payload
  })
})

it('refuses a gap', () => {
  // @ts-expect-error version 2 is missing
  const gap = () => v1.to(3, (payload) => payload)
  expectTypeOf(gap).toBeFunction()
})

it('refuses a chain that ends with another payload', () => {
  const schema = z.object({ customerId: z.string(), currency: z.string() })
  const short = v1.to(2, ({ customer }) => ({ customerId: customer }))
  // @ts-expect-error currency is missing
  defineEvent({ ...named, schema, upcasts: short })
  defineEvent({ ...named, schema, upcasts: short.to(3, (v2) => ({ ...v2, currency: 'EUR' })) })
  // @ts-expect-error currency is missing
  defineEvent<{ customerId: string; currency: string }>()({ ...named, upcasts: short })
  defineEvent<{ customerId: string }>()({ ...named, upcasts: short })
})

it('infers the way back, and refuses one to another payload', () => {
  v1.to(
    2,
    ({ customer }) => ({ customerId: customer }),
    (payload) => {
      expectTypeOf(payload).toEqualTypeOf<{ customerId: string }>()
      return { customer: payload.customerId }
    },
  )
  v1.to(
    2,
    ({ customer }) => ({ customerId: customer }),
    // @ts-expect-error customer is missing
    ({ customerId }) => ({ customerId }),
  )
})
