import { parseConfig, rulesOfSource, type Entry, type NamespaceRules } from '@tidemark/proto';
import { createLogger, type PackingSettings } from '@tidemark/runtime';
import type { L2Store } from '../../../sidecar/src/core/ports.ts';

/** Stores of sidecars that share a backend, and what happens to the backend. */
export interface L2World {
  /** A store as another sidecar has one, which has seen nothing yet. */
  newStore(): L2Store;
  /** The backend is empty, and where it has a fence log that begins at 1000 in epoch 1. */
  reset(): Promise<void>;
  /** A record that invalidates these was applied to the fence log, which is at `to` now. Undefined where there is none. */
  readonly invalidate: ((to: number, what: Invalidated) => Promise<void>) | undefined;
  /** Changes one byte of what lies under a key, or cuts it off there. */
  damage(key: string, how: { readonly at: number; readonly cut: boolean }): Promise<void>;
  /** How many milliseconds what lies under a key has left. */
  ttlMs(key: string): Promise<number>;
  /** It is there, and says nothing. */
  pause(): void;
  resume(): void;
  close(): Promise<void>;
}

export interface Invalidated {
  readonly keys?: readonly string[];
  readonly tags?: readonly string[];
  /** The namespace as a whole. */
  readonly all?: boolean;
}

/** What a backend does in a way of its own. */
export interface Differences {
  /** It has a fence log, which also refuses entries of another epoch; otherwise its readers know what they may serve. */
  readonly hasLog: boolean;
  /** Values beyond this are not stored. */
  readonly maxValueBytes: number;
  /** So much longer than asked entries and claims may last. */
  readonly slackMs: number;
}

/** Long, because the machine is busy at times; a backend that is silent is waited for once. */
export const DEADLINE_MS = 4000;
export const PACKING: PackingSettings = { compressOverBytes: 1024, chunkBytes: 64 * 1024, maxItemBytes: 2 ** 21 };
export const logger = createLogger({ service: 'test', instance: 'test', level: 'silent' });

const parsed = parseConfig({
  sources: { main: { topic: 't' } },
  namespaces: {
    user: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] },
    order: { source: 'main', invalidate: [{ table: 'public.orders', keys: ['{id}'] }] },
  },
});
if (!parsed.ok) throw new Error('the configuration is not valid');
const { byName } = rulesOfSource(parsed.config, 'main');
export const [user, order] = [byName.get('user'), byName.get('order')] as [NamespaceRules, NamespaceRules];

/** A value as of 2000 that lasts a minute. */
export function entryOf(more: Partial<Entry> = {}): Entry {
  const now = Date.now();
  return {
    asOf: 2000,
    epoch: 1,
    storedAtMs: now,
    freshUntilMs: now + 30_000.5,
    expiresAtMs: now + 60_000,
    keepUntilMs: now + 90_000,
    loadMs: 17,
    absent: false,
    contentType: 'text/plain',
    etag: '"e"',
    tags: [],
    body: Buffer.from('value'),
    ...more,
  };
}

/** Text that zstd makes small, and bytes that it cannot. */
export function textOf(bytes: number): Buffer {
  return Buffer.alloc(bytes, '{"id":17,"name":"Anna","email":"anna@example.com"},');
}

export function noiseOf(bytes: number): Buffer {
  let state = bytes | 1;
  return Buffer.from(
    Uint8Array.from({ length: bytes }, () => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) >>> 17),
  );
}
