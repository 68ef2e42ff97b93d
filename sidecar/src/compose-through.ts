import type { NamespaceConfig, WriteThroughConfig } from '@tidemark/proto';
import type { Logger } from '@tidemark/runtime';
import { HttpWriter } from './adapters/http-writer.ts';
import { PostgresPool } from './adapters/sql-pool.ts';
import { SqlWriter } from './adapters/sql-writer.ts';
import type { Config } from './config.ts';
import type { Evictor } from './core/evictor.ts';
import type { Namespace } from './core/namespace.ts';
import { OwnWrites } from './core/own-writes.ts';
import { SqlRead, type SqlReadConfig } from './core/sql-read.ts';
import {
  WriteThrough,
  type Executed,
  type WriteEnd,
  type WriteExecutor,
  type WriteThroughOptions,
} from './core/write-through.ts';
import type { Writer } from './core/writer.ts';

/** Writes that wait for a connection to Postgres, for each connection. */
const WAITING_PER_CONNECTION = 64;
const CLOSE_MS = 5_000;

/** Writes whose values are watched until the stream tells of them. */
const MAX_WATCHED = 4_096;
const MAX_WATCHED_BYTES = 64 * 1024 * 1024;

export interface ThroughOptions extends Pick<
  WriteThroughOptions,
  'namespaces' | 'replica' | 'filler' | 'coalescer' | 'positions' | 'marks' | 'clock' | 'random' | 'etagOf'
> {
  readonly config: Pick<Config, 'writeUrl' | 'writePool' | 'instance'>;
  readonly evictor: Evictor;
  readonly onWrite: (namespace: string, ms: number) => void;
  readonly logger: Logger;
}

/** What performs the writes of namespaces with `writeThrough`. Connects to nothing until something is written. */
export function createThrough({ config, evictor, onWrite, logger, ...parts }: ThroughOptions) {
  const counts = new Map<string, Partial<Record<WriteEnd, number>>>();
  const onEnd = (namespace: string, end: WriteEnd, tookMs: number): void => {
    const counted = counts.get(namespace) ?? {};
    counts.set(namespace, counted);
    counted[end] = (counted[end] ?? 0) + 1;
    onWrite(namespace, tookMs);
  };
  const { replica } = parts;
  const own = new OwnWrites({ replica, most: MAX_WATCHED, maxBytes: MAX_WATCHED_BYTES });
  evictor.spare(own);
  const through = new WriteThrough({ ...parts, own, onEnd });
  const { writeUrl: url, writePool: most, instance } = config;
  const applicationName = `tidemark sidecar ${instance} writes`;
  const pool =
    url === undefined
      ? undefined
      : new PostgresPool({ url, applicationName, most, mostWaiting: most * WAITING_PER_CONNECTION });
  const writers = new WeakMap<NamespaceConfig, Writer>();

  const executorOf = (name: string, of: NamespaceConfig, write: WriteThroughConfig): WriteExecutor => {
    const { maxItemBytes: maxBytes } = of;
    const keep = keptOf(of, write);
    const http = new HttpWriter({ config: write, keep: typeof keep === 'string' ? keep : 'nothing', maxBytes });
    const isSql = write.put?.kind === 'sql' || write.delete?.kind === 'sql';
    if (!isSql) return http;
    if (pool === undefined) {
      logger.error({ namespace: name }, 'writes are made by SQL, but TIDEMARK_WRITE_URL is not set: they are refused');
      return both(http, withoutPostgres(write));
    }
    const reads = (configs: readonly SqlReadConfig[]): readonly SqlRead[] =>
      configs.map(
        (each) => new SqlRead({ config: each, maxBytes, bytesOf: (text, encoding) => Buffer.from(text, encoding) }),
      );
    const sql = new SqlWriter({
      config: write,
      pool,
      keep: typeof keep === 'object' ? { loaded: reads(keep.loaded) } : keep === 'answer' ? 'nothing' : keep,
      followed: () => replica.server,
    });
    return both(http, sql);
  };

  return {
    /** Undefined without TIDEMARK_WRITE_URL. */
    pool,
    /** How many writes of each namespace ended in which way, and what became of their values. */
    counts,
    fates: own.fates,
    /** Writes of which nobody could say yet where they were committed. */
    unplaced: () => through.unplaced,

    /** To be called after each record. */
    applied: () => through.applied(),

    writerOf({ name, config: of }: Namespace): Writer | undefined {
      const { writeThrough } = of;
      if (writeThrough === undefined) return undefined;
      let writer = writers.get(of);
      if (writer === undefined) {
        writer = through.writer(executorOf(name, of, writeThrough));
        writers.set(of, writer);
      }
      return writer;
    },

    stop: () => pool?.close(CLOSE_MS) ?? Promise.resolve(),
  };
}

type Kept = 'written' | 'answer' | 'nothing' | { readonly loaded: readonly SqlReadConfig[] };

/** What is under a key after a put. */
function keptOf({ vary, load }: NamespaceConfig, { cache, read, key }: WriteThroughConfig): Kept {
  // One write makes the values of many callers, which only their loads tell apart.
  if (vary !== undefined || cache === 'nothing') return 'nothing';
  if (cache === 'written' || cache === 'answer') return cache;
  if (read !== undefined)
    return { loaded: [{ key, sql: read.sql, params: read.params, rows: 'one', contentType: undefined, tags: [] }] };
  if (load === undefined) return 'written';
  const loaders = load.filter((loader) => loader.kind === 'sql');
  // What is loaded in another way may be another form of the same.
  return loaders.length === 0 ? 'nothing' : { loaded: loaders };
}

/** Put and delete may be of different kinds. */
function both(one: WriteExecutor, other: WriteExecutor): WriteExecutor {
  const put = one.put ?? other.put;
  const remove = one.delete ?? other.delete;
  return { headers: [...one.headers, ...other.headers], ...(put && { put }), ...(remove && { delete: remove }) };
}

function withoutPostgres({ put, delete: remove }: WriteThroughConfig): WriteExecutor {
  const refused = (): Promise<Executed> => {
    const detail = 'this sidecar has no TIDEMARK_WRITE_URL to write to';
    return Promise.resolve({ kind: 'failed', why: 'misconfigured', detail });
  };
  return {
    headers: [],
    ...(put?.kind === 'sql' && { put: refused }),
    ...(remove?.kind === 'sql' && { delete: refused }),
  };
}
