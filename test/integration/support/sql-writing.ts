import { parseConfig, type WriteThroughConfig } from '@tidemark/proto';
import { onTestFinished } from 'vitest';
import { PostgresPool } from '../../../sidecar/src/adapters/sql-pool.ts';
import { SqlWriter } from '../../../sidecar/src/adapters/sql-writer.ts';
import type { Namespace } from '../../../sidecar/src/core/namespace.ts';
import { SqlRead } from '../../../sidecar/src/core/sql-read.ts';
import type { SqlPool } from '../../../sidecar/src/core/sql.ts';
import type { Executed } from '../../../sidecar/src/core/write-through.ts';

/** How something is written by SQL. */
export interface Writing {
  readonly url: string;
  readonly put: string;
  /** Reads what is cached. */
  readonly read?: string;
  readonly timeoutMs?: number;
  /** How long it may take to end a write that nobody knows the outcome of; as the sidecar does it unless told. */
  readonly endMs?: number;
  readonly most?: number;
  readonly mostWaiting?: number;
}

export interface UnderTest {
  readonly put: (key: string, body?: string) => Promise<Executed>;
  readonly pool: PostgresPool;
  /** How often work was given to the pool. */
  readonly tries: () => number;
}

/** A writer with its pool, until the test has ended. */
export function writingBySql(options: Writing): UnderTest {
  // As long as the configuration allows: no test is about what a busy machine takes.
  const { url, put, read, timeoutMs = 30_000, endMs, most = 2, mostWaiting = 128 } = options;
  const pool = new PostgresPool({ url, applicationName: 'writer under test', most, mostWaiting });
  onTestFinished(() => pool.close(1000));
  const writeThrough = { put: { sql: put }, timeout: `${timeoutMs}ms` };
  const namespace = { source: 'main', invalidate: [{ table: 'public.items', keys: ['{id}'] }], writeThrough };
  const parsed = parseConfig({ sources: { main: { topic: 't' } }, namespaces: { items: namespace } });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  const config = parsed.config.namespaces['items']?.writeThrough as WriteThroughConfig;
  const keep = read === undefined ? ('written' as const) : { loaded: [reading(read)] };
  let [marks, tries] = [0, 0];
  const use: SqlPool['use'] = (...given) => {
    tries += 1;
    return pool.use(...given);
  };
  const counting: SqlPool = { most, inUse: 0, waiting: 0, close: () => Promise.resolve(), use };
  const writer = new SqlWriter({
    config,
    pool: counting,
    keep,
    followed: () => ({ systemId: undefined, timeline: undefined }),
    ...(endMs !== undefined && { endMs }),
  });
  const { put: write } = writer;
  if (write === undefined) throw new Error('the configuration of the test writes nothing');
  return {
    pool,
    tries: () => tries,
    put: (key, body = '') =>
      write({
        ...{ namespace: {} as Namespace, key, headers: {}, signal: new AbortController().signal },
        ...{ mark: `write:${(marks += 1)}`, maxAgeMs: undefined, contentType: 'text/plain', tags: [] },
        body: Buffer.from(body),
      }),
  };
}

/** What would be cached; undefined for nothing. */
export function bodyOf(ended: Executed): string | undefined {
  return ended.kind === 'committed' && ended.value?.kind === 'value'
    ? Buffer.from(ended.value.body).toString()
    : undefined;
}

function reading(sql: string): SqlRead {
  return new SqlRead({
    config: { key: '{key}', sql, params: ['{key}'], rows: 'one', contentType: undefined, tags: [] },
    maxBytes: 1000,
    bytesOf: (text, encoding) => Buffer.from(text, encoding),
  });
}
