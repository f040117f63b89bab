import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { measurePace, paced } from './test/support/pace.ts'

/** Tests in these folders run on real servers, except those named `*.unit.test.ts`. */
const backends = ['redis', 'rabbitmq', 'kafka', 'postgres', 'brokers']
const onBrokers = backends.map((folder) => `test/${folder}/**/*.test.ts`)
const unitTests = '**/*.unit.test.ts'

/** The files that take longest, a minute and more. */
const long = /\/(torture|torture-catches|fuzz|conformance|classic|quorum|next)\.test\.ts$/

/** Starts the long files first, so that no worker is left with one of them at the end. Vitest goes by a file's size. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) => Number(long.test(moduleId))
    return (await super.sort(files)).toSorted((a, b) => isLong(b) - isLong(a))
  }
}

await measurePace()

// The waits of a test have deadlines of their own and report what they waited for. The limits below are for a test that
// hangs elsewhere, and exceed what its waits add up to.
export default defineConfig({
  test: {
    sequence: { sequencer: LongFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: backends.map((folder) => `test/${folder}/**/!(*.unit).test.ts`),
          testTimeout: paced(60_000),
          hookTimeout: paced(60_000),
          maxWorkers: '100%',
          sequence: { groupOrder: 1 }, // projects of one group must have the same number of workers
          typecheck: { enabled: true, include: ['test/**/*.test-d.ts'], checker: 'tsc' },
        },
      },
      {
        test: {
          name: 'brokers',
          include: onBrokers,
          exclude: [unitTests],
          globalSetup: 'test/brokers/global-setup.ts',
          setupFiles: 'test/brokers/report-starts.ts',
          testTimeout: paced(180_000),
          hookTimeout: paced(60_000),
          maxWorkers: 2,
        },
      },
    ],
  },
})
