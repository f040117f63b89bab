import { readFile, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import {
  type AsyncApiChannel,
  asyncApiOf,
  type ContractFault,
  compareContracts,
  contractOf,
  type EventContract,
  parseContract,
} from '../../contract/index.ts'
import { toError } from '../../errors.ts'
import { counted } from '../../kit/counted.ts'
import { EXIT, type ExitCode, UsageError } from '../exit-code.ts'
import { loadEventClasses } from '../load-events.ts'
import type { Terminal } from '../terminal.ts'

interface SchemaOptions {
  readonly modules: readonly string[]
  readonly file: string
  readonly consumers: readonly string[]
  readonly asyncApi: string | undefined
  readonly channels: readonly AsyncApiChannel[]
  readonly title: string
  readonly apiVersion: string
  readonly isJson: boolean
}

type Output = Pick<Terminal, 'out' | 'err'>

/** Writes the contract of the events, and the AsyncAPI document if it is wanted. */
export async function writeSchema(options: SchemaOptions, { out, err }: Output): Promise<ExitCode> {
  const { file, isJson } = options
  const contract = contractOf(await loadEventClasses(options.modules), await readContract(file, false))
  await writeFile(file, textOf(contract))
  await writeAsyncApi(options, contract)
  const types = Object.keys(contract.events)
  if (isJson) await out(JSON.stringify({ file, events: types }))
  else err(`wrote ${file} with ${counted(types.length, 'event')}: ${types.join(', ')}`)
  return EXIT.done
}

/** Compares the events with the contract file. */
export async function checkSchema(options: SchemaOptions, { out, err }: Output): Promise<ExitCode> {
  const { file, isJson } = options
  const committed = await readContract(file, true)
  const contract = contractOf(await loadEventClasses(options.modules), committed)
  const consumers: Record<string, EventContract> = {}
  for (const path of options.consumers) consumers[basename(path)] = await readContract(path, true)
  const faults = compareContracts(committed, contract, consumers)
  await writeAsyncApi(options, contract)
  const isCurrent = textOf(committed) === textOf(contract)
  if (isJson) await out(JSON.stringify({ faults, isCurrent }))
  else for (const fault of faults) await out(lineOf(fault))
  if (faults.length > 0) {
    err(`${faults.length} changes break stored events or consumers`)
    return EXIT.checkFailed
  }
  if (!isCurrent) err(`compatible, but ${file} is not up to date: run the command without --check`)
  return EXIT.done
}

const lineOf = ({ eventType, field, rule, detail, remedy }: ContractFault) =>
  `${eventType}${field === '' ? '' : `.${field}`}: ${rule}: ${detail}. Remedy: ${remedy}.`

const textOf = (contract: EventContract) => `${JSON.stringify(contract, undefined, 2)}\n`

async function writeAsyncApi(
  { asyncApi, title, apiVersion: version, channels }: SchemaOptions,
  contract: EventContract,
): Promise<void> {
  if (asyncApi === undefined) return
  const document = asyncApiOf(contract, { title, version, channels })
  await writeFile(asyncApi, `${JSON.stringify(document, undefined, 2)}\n`)
}

function readContract(file: string, isNeeded: true): Promise<EventContract>
function readContract(file: string, isNeeded: false): Promise<EventContract | undefined>
async function readContract(file: string, isNeeded: boolean): Promise<EventContract | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (thrown) {
    const error = toError(thrown)
    if (!isNeeded && Reflect.get(error, 'code') === 'ENOENT') return undefined
    throw new UsageError(`The contract file ${file} cannot be read: ${error.message}`)
  }
  try {
    return parseContract(text)
  } catch (thrown) {
    throw new UsageError(`${file}: ${toError(thrown).message}`)
  }
}
