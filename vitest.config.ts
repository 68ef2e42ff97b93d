import { defineConfig } from 'vitest/config';

const common = { pool: 'forks', unstubEnvs: true, restoreMocks: true } as const;
const ignored = ['**/node_modules/**', '**/fixtures/**'];

// Two kinds of tests: those beside the code and the simulation need nothing but themselves; those below test/ share one
// Postgres, Kafka and Redis that are started once for the run (test/kit/global-setup.ts).
export default defineConfig({
  test: {
    // Real servers, the processes under test and the tests share the machine: two files at a time.
    maxWorkers: 2,
    projects: [
      {
        test: {
          ...common,
          name: 'unit',
          include: ['{proto,sidecar,invalidator,scripts,test/sim}/**/*.test.ts'],
          exclude: ignored,
        },
      },
      {
        test: {
          ...common,
          name: 'servers',
          include: ['test/**/*.test.ts'],
          exclude: [...ignored, 'test/sim/**'],
          globalSetup: ['test/kit/global-setup.ts'],
          setupFiles: ['test/kit/worker-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
