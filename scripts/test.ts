// npm test: every test of every package, on real servers that vitest.config.ts has started (test/kit/global-setup.ts).
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { onParentGone, scratchFolder } from '../test/kit/index.ts';
import { root } from './lib/tools.ts';

const help = `Usage: npm test [-- FILTERS AND OPTIONS]

Runs every test on a Postgres, a Kafka and a Redis of its own (or those of TIDEMARK_TEST_POSTGRES_URL,
TIDEMARK_TEST_KAFKA_BROKERS and TIDEMARK_TEST_REDIS_URL).

  npm test -- proto                      the files whose path contains "proto"
  npm test -- --project unit             the tests that need no server
  npm test -- -t "late fill"             the tests whose name matches

Everything after -- goes to vitest run. The last line says: N passed, N failed.`;

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

/** What vitest's JSON reporter counts. A file that cannot be set up, or an error outside of a test, is a failure too. */
function totals(file: string, code: number): { passed: number; failed: number } {
  try {
    const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(file, 'utf8')) as Report;
    const broken = testResults.filter(
      ({ status, assertionResults }) =>
        status === 'failed' && assertionResults.every((result) => result.status !== 'failed'),
    );
    const failed = numFailedTests + broken.length;
    return { passed: numPassedTests, failed: failed === 0 && code !== 0 ? 1 : failed };
  } catch {
    return { passed: 0, failed: 1 }; // it ended before it could report
  }
}

function main(): void {
  const args = process.argv.slice(2);
  if (args.includes('--help')) {
    process.stdout.write(`${help}\n`);
    process.exit(0);
  }
  const folder = scratchFolder('report');
  const report = join(folder.path, 'report.json');
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const child = spawn(process.execPath, [vitest, 'run', ...reporters, ...args], {
    cwd: root,
    // The channel tells vitest (test/kit/global-setup.ts) when this process is gone.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  onParentGone(() => child.kill('SIGTERM'));
  child.once('exit', (exitCode, signal) => {
    const code = exitCode ?? 128 + (signal === null ? 0 : constants.signals[signal]);
    const { passed, failed } = totals(report, code);
    process.stdout.write(`${passed} passed, ${failed} failed\n`);
    void folder.remove().then(() => process.exit(failed === 0 ? code : code || 1));
  });
}

main();
