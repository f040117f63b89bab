import { expect, it, vi } from 'vitest'
import { appendNotes, withFile } from './sqlite-scene.ts'

/** The type that the operating system reports for the folder of a file. */
const state = vi.hoisted(() => ({ type: 0 }))

vi.mock('node:fs', async (importOriginal) => {
  const fs = await importOriginal<typeof import('node:fs')>()
  return { ...fs, statfsSync: () => ({ type: state.type }) }
})

it.each([
  [0x6969, 'NFS'],
  // Reported as a negative number if it is read as a signed 32-bit integer.
  [0xff534d42 | 0, 'CIFS'],
])('refuses a file on a network file system, unless it is allowed (type %i)', async (type, name) => {
  await using scene = withFile()
  state.type = type

  await expect(scene.open().ready()).rejects.toMatchObject({ code: 'SQLITE_NETWORK_FILE' })
  await expect(scene.open().ready()).rejects.toThrow(`is on ${name}`)
  await appendNotes(scene.open({ allowNetworkFile: true }), 1)
})

it('accepts a file on a local file system, including that of a container', async () => {
  await using scene = withFile()
  // overlayfs
  state.type = 0x794c7630

  await appendNotes(scene.open(), 1)
})
