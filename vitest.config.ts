import { defineConfig } from 'vitest/config'

/** Tests in these folders run on real brokers, except those named `*.unit.test.ts`. */
const backends = ['redis', 'rabbitmq', 'kafka', 'brokers']
const onBrokers = backends.map((folder) => `test/${folder}/**/*.test.ts`)
const unitTests = '**/*.unit.test.ts'

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: backends.map((folder) => `test/${folder}/**/!(*.unit).test.ts`),
          typecheck: { enabled: true, include: ['test/**/*.test-d.ts'], checker: 'tsc' },
        },
      },
      {
        test: {
          name: 'brokers',
          include: onBrokers,
          exclude: [unitTests],
          globalSetup: 'test/brokers/global-setup.ts',
          testTimeout: 30_000,
          hookTimeout: 30_000,
          maxWorkers: 2,
        },
      },
    ],
  },
})
