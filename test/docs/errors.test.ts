import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import * as eventspine from '../../src/index.ts'
import * as postgres from '../../src/postgres/index.ts'
import * as sqlite from '../../src/sqlite/index.ts'

const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
const rows = [...page.matchAll(/^\| `([A-Z_]+)` \| `(\w+)` \|/gm)].map(([, code, className]) => ({
  code,
  className,
}))

const { EventspineError } = eventspine
const errorClasses = Object.entries({ ...eventspine, ...sqlite, ...postgres }).filter(
  ([, value]) => typeof value === 'function' && value.prototype instanceof EventspineError,
)

it('lists every exported error class, and no other', () => {
  const listed = new Set(rows.map(({ className }) => className))

  expect([...listed].toSorted()).toEqual(errorClasses.map(([name]) => name).toSorted())
})

it('lists every code once', () => {
  const codes = rows.map(({ code }) => code)

  expect(new Set(codes).size).toBe(codes.length)
})

it('lists the code of each error class', () => {
  const codeOf = new Map(rows.map(({ code, className }) => [className, code]))

  expect(new postgres.PostgresNotAvailableError().code).toBe(codeOf.get('PostgresNotAvailableError'))
  expect(new postgres.PostgresPoolExhaustedError(1).code).toBe(codeOf.get('PostgresPoolExhaustedError'))
  expect(new postgres.PostgresTimeoutError().code).toBe(codeOf.get('PostgresTimeoutError'))
  expect(new postgres.PostgresPermissionError('x').code).toBe(codeOf.get('PostgresPermissionError'))
  expect(new postgres.PostgresFeedError('x').code).toBe(codeOf.get('PostgresFeedError'))
  expect(new postgres.PostgresSnapshotTooOldError().code).toBe(codeOf.get('PostgresSnapshotTooOldError'))
  expect(new postgres.PostgresTransactionAbortedError().code).toBe(
    codeOf.get('PostgresTransactionAbortedError'),
  )
  expect(new postgres.PostgresValueError('x').code).toBe(codeOf.get('PostgresValueError'))
  expect(new postgres.PostgresArchiveError('x').code).toBe(codeOf.get('PostgresArchiveError'))
  expect(new sqlite.SqliteBusyError('file', 1).code).toBe(codeOf.get('SqliteBusyError'))
  expect(new sqlite.SqliteCorruptError('file', 'x').code).toBe(codeOf.get('SqliteCorruptError'))
  expect(new sqlite.SqliteNetworkFileError('file', 'x').code).toBe(codeOf.get('SqliteNetworkFileError'))
  expect(new sqlite.SqliteError('file', 'x').code).toBe(codeOf.get('SqliteError'))
  expect(new sqlite.SqliteImportError(1).code).toBe(codeOf.get('SqliteImportError'))
  expect(new sqlite.SqliteArchiveError('x').code).toBe(codeOf.get('SqliteArchiveError'))
  expect(new eventspine.StoreClosedError('x').code).toBe(codeOf.get('StoreClosedError'))
  expect(new eventspine.StoreSchemaError('x', 1, 2, '').code).toBe(codeOf.get('StoreSchemaError'))
  expect(new eventspine.ForeignCheckpointError('x', 1, 'y').code).toBe(codeOf.get('ForeignCheckpointError'))

  expect(new eventspine.ConfigError('x', ['y']).code).toBe(codeOf.get('ConfigError'))
  expect(new eventspine.BusClosedError('publish').code).toBe(codeOf.get('BusClosedError'))
  expect(new eventspine.DecodeError('schema', 'x').code).toBe(codeOf.get('DecodeError'))
  expect(new eventspine.EventValidationError('X', []).code).toBe(codeOf.get('EventValidationError'))
  expect(new eventspine.EventTypeNotFoundError('X', []).code).toBe(codeOf.get('EventTypeNotFoundError'))
  expect(new eventspine.DuplicateEventTypeError('X', 'A', 'B').code).toBe(
    codeOf.get('DuplicateEventTypeError'),
  )
  expect(new eventspine.HandlerTimeoutError('h', 1).code).toBe(codeOf.get('HandlerTimeoutError'))
  expect(new eventspine.ShutdownError().code).toBe(codeOf.get('ShutdownError'))
  expect(new eventspine.PublishError('x', []).code).toBe(codeOf.get('PublishError'))
  expect(new eventspine.PublishTimeoutError(1, 'x').code).toBe(codeOf.get('PublishTimeoutError'))
  expect(new eventspine.KafkaNotAvailableError().code).toBe(codeOf.get('KafkaNotAvailableError'))
  expect(new eventspine.RabbitMQNotAvailableError().code).toBe(codeOf.get('RabbitMQNotAvailableError'))
  expect(new eventspine.UnroutableError('x', 'y').code).toBe(codeOf.get('UnroutableError'))
  expect(new eventspine.MessageRefusedError('x').code).toBe(codeOf.get('MessageRefusedError'))
  const stream = { aggregateId: 'a', aggregateType: 'A', eventId: 'e', eventType: 'E' }
  expect(new eventspine.OptimisticLockError(stream, 1, 2).code).toBe(codeOf.get('OptimisticLockError'))
  expect(new eventspine.DuplicateEventError('e', 'x').code).toBe(codeOf.get('DuplicateEventError'))
  expect(new eventspine.EventStreamMismatchError(stream, stream).code).toBe(
    codeOf.get('EventStreamMismatchError'),
  )
  expect(new eventspine.AmbiguousStreamError('a', []).code).toBe(codeOf.get('AmbiguousStreamError'))
  const event = new eventspine.GenericEvent({ ...stream, data: {} })
  const position = { newVersion: 1, globalPosition: 1 }
  expect(new eventspine.AggregateNotFoundError('A', 'a').code).toBe(codeOf.get('AggregateNotFoundError'))
  expect(new eventspine.EventVersionError(event, 2).code).toBe(codeOf.get('EventVersionError'))
  expect(new eventspine.UnhandledEventError('E').code).toBe(codeOf.get('UnhandledEventError'))
  expect(new eventspine.PublishAfterSaveError([event], position, new Error('x')).code).toBe(
    codeOf.get('PublishAfterSaveError'),
  )
  const at = { position: 1, eventId: 'e' }
  expect(new eventspine.SubscriptionFailedError('s', at, new Error('x')).code).toBe(
    codeOf.get('SubscriptionFailedError'),
  )
  expect(new eventspine.SubscriptionStoppedError('s', 'x').code).toBe(codeOf.get('SubscriptionStoppedError'))
  expect(new eventspine.SubscriptionNotFoundError('s', []).code).toBe(codeOf.get('SubscriptionNotFoundError'))
  expect(new eventspine.DuplicateSubscriptionError('s').code).toBe(codeOf.get('DuplicateSubscriptionError'))
  expect(new eventspine.CheckpointConflictError('s', 1, 2).code).toBe(codeOf.get('CheckpointConflictError'))
  expect(new eventspine.PositionAheadError('s', 1, 0).code).toBe(codeOf.get('PositionAheadError'))
  expect(new eventspine.RedisNotAvailableError().code).toBe(codeOf.get('RedisNotAvailableError'))
})
