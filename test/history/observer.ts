import { setTimeout as wait } from 'node:timers/promises';
import { decodeBatch } from '@tidemark/proto';
import { createKafka, createLogger, RecordReader } from '@tidemark/runtime';
import type { Stack } from '../kit/index.ts';
import { documentOf } from './configuration.ts';
import type { Epochs } from './epochs.ts';

const everyMs = 100;
const patienceMs = 2_000;

interface Status {
  readonly sources: Readonly<Record<string, { readonly epoch: number }>>;
  readonly config: { readonly state: string; readonly term: number; readonly revision: number };
}

interface Observed {
  readonly epochs: Epochs;
  /** Gets each document that a sidecar serves, by the names of both. */
  readonly documents: Set<string>;
}

/** Tells which epoch and document every sidecar is in, and which timeline every epoch counts on, until told to stop. */
export async function observe(stack: Stack, { epochs, documents }: Observed, signal: AbortSignal): Promise<void> {
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
  await Promise.all(stack.sidecars.map((sidecar) => watch(sidecar, { stack, epochs, documents, signal })));
  await reader.stop();
}

async function watch(
  sidecar: { readonly name: string; readonly admin: string },
  { stack, epochs, documents, signal }: Observed & { stack: Stack; signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    const askedAtMs = performance.now();
    try {
      const response = await fetch(`${sidecar.admin}/v1/status`, { signal: AbortSignal.timeout(patienceMs) });
      const { sources, config } = (await response.json()) as Status;
      const epoch = sources[stack.source]?.epoch ?? 0;
      if (config.state === 'taken') documents.add(documentOf(sidecar.name, config));
      // 0: it has just started and serves nothing yet.
      if (epoch > 0) epochs.said(sidecar.name, { epoch, askedAtMs, answeredAtMs: performance.now() });
    } catch {
      // It does not answer now.
    }
    await wait(everyMs, undefined, { signal }).catch(() => undefined);
  }
}
