import { afterAll, beforeAll, expect, onTestFailed } from 'vitest';
import { createStack, type Stack, type StackOptions } from '../../kit/index.ts';
import { sharedServers } from '../../kit/shared.ts';
import { type App, appsOf } from './app.ts';
import { eventually } from './eventually.ts';

/** A stack over the run's shared servers for the tests of one file. Its logs are shown when a test fails. */
export function useStack(options: StackOptions): { readonly stack: Stack; readonly apps: App[] } {
  const used: { stack?: Stack; apps: App[] } = { apps: [] };
  beforeAll(async () => {
    used.stack = await createStack(sharedServers(), options);
    used.apps = appsOf(used.stack);
    await cacheable(used.stack);
  });
  afterAll(() => used.stack?.stop());
  return {
    get stack() {
      if (used.stack === undefined) throw new Error('the stack did not start');
      return used.stack;
    },
    get apps() {
      return used.apps;
    },
  };
}

/** Waits until every sidecar caches every namespace: it follows the stream and the publisher covers its rules. */
export async function cacheable(stack: Stack): Promise<void> {
  for (const app of appsOf(stack)) {
    for (const namespace of await namespacesOf(stack)) {
      await eventually(
        async () => {
          // Asked so, it neither hands out a lease nor loads, but says whether it could.
          const headers = { 'cache-control': 'only-if-cached' };
          const { status, cacheStatus } = await app.get(namespace, 'is-it-cacheable', headers);
          // A namespace whose values differ by who asks cannot be asked by nobody; the others tell enough.
          if (status !== 400) expect(cacheStatus).toMatch(/fwd=miss/);
        },
        { withinMs: 60_000 },
      );
    }
  }
}

async function namespacesOf(stack: Stack): Promise<string[]> {
  const [sidecar] = stack.sidecars;
  if (sidecar === undefined) return [];
  const status = (await (await fetch(`${sidecar.url}/v1/status`)).json()) as { namespaces: Record<string, unknown> };
  return Object.keys(status.namespaces);
}

/** Prints the stack's newest log lines if the running test fails. */
export function showLogsOnFailure(stack: Stack): void {
  onTestFailed(() => {
    process.stderr.write(`${stack.logs().slice(-80).join('\n')}\n`);
  });
}
