import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { paced } from '../../support/pace.ts'
import { type PageProgram, root } from './page-programs.ts'
import type { ProgramOutcome } from './run-all.ts'

const execute = promisify(execFile)

/** A folder with programs, inside the repository, so that the package and the libraries of its examples are found. */
export class ProgramFolder implements Disposable {
  readonly path: string

  constructor() {
    mkdirSync(join(root, '.cache'), { recursive: true })
    this.path = mkdtempSync(join(root, '.cache', 'pages-'))
  }

  write(file: string, code: string): void {
    writeFileSync(join(this.path, file), code)
  }

  /**
   * Runs programs, each with its own files.
   *
   * @param addressesOf - returns addresses by those that the pages show.
   */
  async run(
    programs: readonly PageProgram[],
    addressesOf: (program: PageProgram) => Readonly<Record<string, string>> = () => ({}),
  ): Promise<Readonly<Record<string, ProgramOutcome>>> {
    this.write('runner-of-tests.ts', RUNNER_OF_TESTS)
    for (const program of programs) {
      const addresses = addressesOf(program)
      for (const file of [program, ...(program.modules ?? [])]) {
        this.write(file.file, placed(file, addresses))
      }
    }
    const files = programs.map(({ file }) => file)
    const env = { ...process.env, PROGRAM_LIMIT_MS: String(paced(20_000)) }
    const runner = join(import.meta.dirname, 'run-all.ts')
    const { stdout } = await execute(process.execPath, [runner, ...files], { cwd: this.path, env })
    // The output of run-all.ts.
    return JSON.parse(stdout) as Readonly<Record<string, ProgramOutcome>>
  }

  /** @returns what the compiler prints about the programs. */
  async compile(): Promise<string> {
    const compilerOptions = {
      noEmit: true,
      skipLibCheck: true,
      noUnusedLocals: false,
      noUnusedParameters: false,
    }
    const config = { extends: '../../tsconfig.json', compilerOptions, include: ['*.ts'], exclude: [] }
    this.write('tsconfig.json', JSON.stringify(config))
    const tsc = join(root, 'node_modules/.bin/tsc')
    const { stdout } = await execute(tsc, ['-p', this.path]).catch(
      (failed: { readonly stdout: string }) => failed,
    )
    return stdout
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true })
  }
}

/** In place of Vitest, which runs in its own processes only: the suites of the examples are declared, and their tests not run. */
const RUNNER_OF_TESTS = `
export const describe = (_name: string, body: () => void) => body()
export const it = Object.assign(() => {}, { skip: () => {} })
`

function placed(
  { code, file }: Pick<PageProgram, 'code' | 'file'>,
  addresses: Readonly<Record<string, string>>,
): string {
  let result = code
    .replaceAll(/file: '([\w./-]+\.db)'/g, (_, path: string) => `file: '${file}-files/${path}'`)
    .replaceAll("from 'vitest'", "from './runner-of-tests.ts'")
  for (const [shown, actual] of Object.entries(addresses)) result = result.replaceAll(shown, actual)
  return result
}
