import { defineConfig } from 'vitest/config'
import { measurePace, paced } from './test/support/pace.ts'

/** Tests in these folders run on real brokers, except those named `*.unit.test.ts`. */
const backends = ['redis', 'rabbitmq', 'kafka', 'brokers']
const onBrokers = backends.map((folder) => `test/${folder}/**/*.test.ts`)
const unitTests = '**/*.unit.test.ts'

await measurePace()

// The waits of a test have deadlines of their own and report what they waited for. The limits below are for a test that
// hangs elsewhere, and exceed what its waits add up to.
export default defineConfig({
  test: {
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
