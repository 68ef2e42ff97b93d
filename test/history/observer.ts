import { setTimeout as wait } from 'node:timers/promises';
import { decodeBatch } from '@tidemark/proto';
import { createKafka, createLogger, RecordReader } from '@tidemark/runtime';
import type { Stack } from '../kit/index.ts';
import type { Epochs } from './epochs.ts';

const everyMs = 100;
const patienceMs = 2_000;

/** Tells which epoch every sidecar is in, and which timeline every epoch counts on, until told to stop. */
export async function observe(stack: Stack, epochs: Epochs, signal: AbortSignal): Promise<void> {
  const logger = createLogger({ service: 'history', instance: 'history', level: 'silent' });
  const kafka = createKafka({ brokers: [...stack.brokers], tls: false, clientId: 'history', logger });
  const reader = new RecordReader({
    kafka,
    topic: stack.topic,
    start: { from: 'newest-record' },
    logger,
    onReset: () => undefined,
    onRecords: ({ records }) => {
      for (const { value } of records) {
        const decoded = decodeBatch(value);
        if (decoded.kind !== 'batch') continue;
        const { epoch, timeline, to, purges } = decoded.batch;
        epochs.record({ epoch, timeline, to, purges: purges.some(({ all }) => all) });
      }
    },
  });
  await Promise.all(stack.sidecars.map((sidecar) => watch(sidecar, { stack, epochs, signal })));
  await reader.stop();
}

async function watch(
  sidecar: { readonly name: string; readonly admin: string },
  { stack, epochs, signal }: { stack: Stack; epochs: Epochs; signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    const askedAtMs = performance.now();
    try {
      const response = await fetch(`${sidecar.admin}/v1/status`, { signal: AbortSignal.timeout(patienceMs) });
      const { sources } = (await response.json()) as { sources: Record<string, { epoch: number }> };
      const epoch = sources[stack.source]?.epoch ?? 0;
      // 0: it has just started and serves nothing yet.
      if (epoch > 0) epochs.said(sidecar.name, { epoch, askedAtMs, answeredAtMs: performance.now() });
    } catch {
      // It does not answer now.
    }
    await wait(everyMs, undefined, { signal }).catch(() => undefined);
  }
}
