import type { Entry } from '@tidemark/proto';

/** An entry of 100 bytes that matters to nobody, but for what is said of it. */
export function anEntry(more: Partial<Entry> = {}): Entry {
  return {
    asOf: 1,
    epoch: 1,
    storedAtMs: 0,
    freshUntilMs: 1,
    expiresAtMs: 1,
    keepUntilMs: 1,
    loadMs: 0,
    absent: false,
    contentType: 'text/plain',
    etag: '"e"',
    tags: [],
    body: new Uint8Array(100),
    ...more,
  };
}
