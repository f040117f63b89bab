import { readdirSync, readFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'

/** States of a thread that does not run: stopped, traced, zombie, dead. */
const STILL = 'TtZX'

/**
 * Waits until every thread of a process group has stopped after a SIGSTOP. The kernel stops them one by one, and each may
 * answer until then. Returns at once on systems without `/proc`.
 */
export async function groupStopped(group: number): Promise<void> {
  while (await isMoving(group)) await delay(2)
}

/** All processes below one. Where there is no `/proc`, none. */
export function descendantsOf(pid: number): readonly number[] {
  const parents = new Map(pidsNow().map((child) => [child, parentOf(child)]))
  const found = [pid]
  for (const parent of found) {
    for (const [child, itsParent] of parents) if (itsParent === parent) found.push(child)
  }
  return found.slice(1)
}

function pidsNow(): readonly number[] {
  try {
    return readdirSync('/proc').map(Number).filter(Number.isInteger)
  } catch {
    return [] // not Linux
  }
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined // it has ended
  }
}

async function isMoving(group: number): Promise<boolean> {
  const pids = (await entriesOf('/proc')).filter((name) => /^\d+$/.test(name))
  for (const pid of pids) {
    if ((await statOf(`/proc/${pid}`))?.group !== group) continue
    for (const thread of await entriesOf(`/proc/${pid}/task`)) {
      const stat = await statOf(`/proc/${pid}/task/${thread}`)
      if (stat !== undefined && !STILL.includes(stat.state)) return true
    }
  }
  return false
}

/** @returns state and process group; undefined if the process has ended. */
async function statOf(
  folder: string,
): Promise<{ readonly state: string; readonly group: number } | undefined> {
  try {
    const stat = await readFile(`${folder}/stat`, 'utf8')
    // The preceding field is the name in parentheses, which may contain any character.
    const [state = '', , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { state, group: Number(group) }
  } catch {
    return undefined
  }
}

async function entriesOf(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder)
  } catch {
    return []
  }
}
