import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

// What must happen by itself is waited for; how long only tells of the machine (the default is 1 s).
const expecting = { poll: { timeout: 30_000 } } as const;
const common = { pool: 'forks', unstubEnvs: true, restoreMocks: true, expect: expecting } as const;
const ignored = ['**/node_modules/**', '**/fixtures/**'];

const cluster = ['test/{kube,chart,e2e}/**'];

const kube = {
  test: {
    ...common,
    name: 'kube',
    include: cluster.map((folder) => `${folder}/*.test.ts`),
    exclude: ignored,
    globalSetup: ['test/kit/global-setup.ts', 'test/kit/kube/global-setup.ts'],
    setupFiles: ['test/kit/worker-setup.ts', 'test/kit/property-setup.ts'],
    testTimeout: 240_000,
    hookTimeout: 300_000,
  },
} as const;

/** What computes for minutes, in files that look small; the longest first. */
const computing = ['test/model/coherence.test.ts', 'test/sim/simulation.test.ts'];

/**
 * Where no durations are known, as in a fresh checkout, vitest takes the projects by their names and begins the largest files
 * of each first. What computes would then come last, alone, and a worker would have nothing to do meanwhile. It begins when
 * nothing that waits for servers is left to begin, and the many small files of `unit` fill up the other worker.
 */
class ComputingBeforeUnit extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- not an array's
    const sorted = await super.sort(files);
    const rank = ({ moduleId, project }: TestSpecification): number => {
      const place = computing.findIndex((file) => moduleId.endsWith(`/${file}`));
      if (place >= 0) return place;
      return project.name === 'unit' ? computing.length : -1;
    };
    return sorted.toSorted((one, other) => rank(one) - rank(other));
  }
}

// Three kinds of tests: those beside the code and the simulation need nothing but themselves; those below test/ share one
// Postgres, Kafka and Redis that are started once for the run (test/kit/global-setup.ts); those in a cluster need, besides,
// what Go builds once for the machine, and start a Kubernetes of their own (test/kit/kube).
export default defineConfig({
  test: {
    // Real servers, the processes under test and the tests share the machine: two files at a time.
    maxWorkers: 2,
    sequence: { sequencer: ComputingBeforeUnit },
    projects: [
      {
        test: {
          ...common,
          name: 'unit',
          include: ['{proto,sidecar,invalidator,scripts,test/sim}/**/*.test.ts'],
          exclude: ignored,
          setupFiles: ['test/kit/property-setup.ts'],
          // Properties take seconds, and many times that where the machine is busy.
          testTimeout: 120_000,
        },
      },
      {
        test: {
          ...common,
          name: 'servers',
          include: ['test/**/*.test.ts'],
          exclude: [...ignored, 'test/sim/**', ...cluster],
          globalSetup: ['test/kit/global-setup.ts'],
          setupFiles: ['test/kit/worker-setup.ts', 'test/kit/property-setup.ts'],
          testTimeout: 180_000,
          hookTimeout: 240_000,
        },
      },
      kube,
    ],
  },
});
