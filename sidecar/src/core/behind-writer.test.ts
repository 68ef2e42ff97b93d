import { encodePendingWrite } from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../testing/fakes.ts';
import { BehindCounters, BehindWriter, type Appended } from './behind-writer.ts';
import { unconfigured } from './namespace.ts';
import { PendingWrites } from './pending-writes.ts';

const MAX_BYTES = 64 * 1024;
const namespace = unconfigured('items');
const sql = { sql: 'select $1', params: ['{key}' as const] };

function start() {
  const clock = new ManualClock();
  const replica = { epoch: 1, applied: 10, visible: 10 };
  const writes = new PendingWrites({
    topic: 't',
    replica,
    maxStalenessMs: 5_000,
    etagOf: (_type, body) => `"${body.length}"`,
  });
  const pending = writes.serve('items', MAX_BYTES);
  const sent: ((appended: Appended) => void)[] = [];
  const log = { append: () => new Promise<Appended>((resolve) => sent.push(resolve)) };
  const counters = new BehindCounters();
  const config = { put: sql, delete: sql, maxPending: MAX_BYTES };
  const writer = new BehindWriter({ log, writes, clock, seenMs: 1_000 }, { config, pending, counters });
  const read = (records: readonly { offset: number; value: Uint8Array }[], nextOffset: number): void =>
    writes.take({ records, nextOffset, caughtUp: true, requestedAtMs: clock.monotonicMs() });
  const put = (key: string, bytes = 1) =>
    writer.put?.({
      namespace,
      key,
      headers: {},
      signal: new AbortController().signal,
      body: new Uint8Array(bytes),
      contentType: 'text/plain',
      tags: [],
      maxAgeMs: undefined,
    });
  return { clock, writes, pending, sent, counters, writer, read, put };
}

function known() {
  const parts = start();
  parts.writes.begin({ offset: 0, epoch: 1, lsn: 10 });
  parts.read([], 0);
  return parts;
}

function record(offset: number, key: string, bytes = 1) {
  const body = new Uint8Array(bytes);
  const write = { namespace: 'items', key, kind: 'put', contentType: 'text/plain', tags: [], atMs: 0, body } as const;
  return { offset, value: encodePendingWrite(write) };
}

describe('a write', () => {
  it('[I19] is accepted once Kafka has it and it was read here', async () => {
    const { put, sent, read, pending, counters } = known();
    const written = put('k');
    sent[0]?.({ offset: 0 });
    await Promise.resolve();
    expect(pending.get('k')).toBeUndefined();
    read([record(0, 'k')], 1);
    expect(pending.get('k')).toMatchObject({ contentType: 'text/plain', etag: '"1"' });
    expect(await written).toEqual({ kind: 'accepted' });
    expect(counters.acknowledged).toBe(1);
  });

  it('[I19] that is not seen here in time is told as unknown', async () => {
    const { put, sent, clock } = known();
    const written = put('k');
    sent[0]?.({ offset: 0 });
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(1_000);
    expect(await written).toMatchObject({ kind: 'failed', why: 'unknown' });
  });

  it('[I19] that Kafka puts before what was read already is not told as written: the topic was made anew, or cut', async () => {
    const { put, sent, read, counters } = known();
    read([record(0, 'a'), record(1, 'b')], 2);
    const [lost, taken] = [put('k'), put('k')];
    sent[0]?.({ offset: 1 });
    expect(await lost).toMatchObject({ kind: 'failed', why: 'unknown', detail: expect.stringContaining('offset 1') });
    sent[1]?.({ offset: 2 });
    read([record(2, 'k')], 3);
    expect(await taken).toEqual({ kind: 'accepted' });
    expect(counters).toMatchObject({ acknowledged: 1, refused: { unknown: 1 } });
  });

  it.each([
    ['unsent', 'unavailable'],
    ['full', 'busy'],
    ['unknown', 'unknown'],
  ] as const)('[I19] that the log says is %s is told as %s', async (failed, why) => {
    const { put, sent, counters } = known();
    const written = put('k');
    sent[0]?.({ failed, detail: 'because' });
    expect(await written).toEqual({ kind: 'failed', why, detail: 'because' });
    expect(counters.refused[why]).toBe(1);
  });

  it('[I19] is refused while it is not known what waits', async () => {
    const { put, writes, read, clock, sent } = start();
    expect(await put('k')).toMatchObject({ kind: 'failed', why: 'unavailable' });
    writes.begin({ offset: 5, epoch: 1, lsn: 11 });
    read([], 5);
    // W has not reached the position yet.
    expect(await put('k')).toMatchObject({ kind: 'failed', why: 'unavailable' });
    writes.restart();
    writes.begin({ offset: 5, epoch: 1, lsn: 10 });
    read([], 5);
    void put('k');
    expect(sent).toHaveLength(1);
    clock.advance(5_001);
    expect(await put('k')).toMatchObject({ kind: 'failed', why: 'unavailable' });
  });

  it('[I19] is refused beyond three quarters of the room, on its way or waiting, and taken again once that is flushed', async () => {
    const { put, sent, read, writes, pending } = known();
    const first = put('a', 24_000);
    void put('b', 20_000);
    expect(await put('c', 10_000)).toMatchObject({ kind: 'failed', why: 'busy' });
    sent[0]?.({ offset: 0 });
    read([record(0, 'a', 24_000)], 1);
    expect(await first).toEqual({ kind: 'accepted' });
    sent[1]?.({ failed: 'unsent', detail: '' });
    await new Promise((resolve) => setImmediate(resolve));
    expect(await put('c', 30_000)).toMatchObject({ kind: 'failed', why: 'busy' });
    writes.mark('t:0:1', 10);
    expect(pending.get('a')).toBeUndefined();
    void put('c', 30_000);
    expect(sent).toHaveLength(3);
  });

  it('[I19] of more than a record may hold is refused', async () => {
    expect(await known().put('k', 1_000_000)).toMatchObject({ kind: 'failed', why: 'too-large' });
  });
});

describe('what waits', () => {
  it('[I19] is not known any more once more waits than fits, until that is flushed and read anew', () => {
    const { read, pending, writes, clock } = known();
    read([record(0, 'a', 40_000), record(1, 'b', 40_000)], 2);
    expect(pending.bypass(clock.monotonicMs())).toBe('overflow');
    expect(pending.bytes).toBe(0);
    writes.mark('t:0:1', 10);
    writes.settle();
    expect(writes.wantsRestart).toBe(false);
    writes.mark('t:0:2', 10);
    writes.settle();
    expect(writes.wantsRestart).toBe(true);
    writes.restart();
    writes.begin({ offset: 2, epoch: 1, lsn: 10 });
    read([], 2);
    expect(pending.bypass(clock.monotonicMs())).toBeUndefined();
  });

  it('[I19] is not known behind a write of a later version', () => {
    const { read, pending, clock } = known();
    read([{ offset: 0, value: new TextEncoder().encode('{"version":2}\n') }], 1);
    expect(pending.bypass(clock.monotonicMs())).toBe('overflow');
  });

  it('[I19] keeps nothing alive of what came with it', () => {
    const { read, pending } = known();
    const big = record(0, 'k', 10);
    read([big], 1);
    expect(pending.get('k')?.body.buffer.byteLength).toBe(10);
    expect(big.value.buffer.byteLength).toBeGreaterThan(10);
  });
});
