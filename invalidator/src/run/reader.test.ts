import { beforeEach, describe, expect, it } from 'vitest';
import { DEFAULT_BOUNDS } from '../core/bounds.ts';
import { Outbox } from '../core/outbox.ts';
import type { RelationFacts } from '../core/relations.ts';
import { rules, t } from '../core/testing/harness.ts';
import * as wire from '../core/testing/wire.ts';
import { VisibleClock } from '../core/visibility.ts';
import { StreamReader } from './reader.ts';

const OID = 42;
const tight = { ...DEFAULT_BOUNDS, maxCommits: 1 };

let outbox: Outbox;
let reader: StreamReader;
let lookUps: { oid: number; resolve: (facts: RelationFacts | undefined) => void; reject: (error: Error) => void }[];
let failures: Error[];
let news: boolean[];
let members: { oid: number; tables: readonly string[] }[];
let socket: 'flowing' | 'paused';
let at: number;

beforeEach(() => {
  [lookUps, failures, news, members, socket, at] = [[], [], [], [], 'flowing', 0];
  outbox = new Outbox({ bounds: tight, maxPending: 2, from: 0 });
  reader = new StreamReader({
    rules,
    bounds: tight,
    outbox,
    clock: new VisibleClock(0),
    lookUp: (oid) => new Promise((resolve, reject) => void lookUps.push({ oid, resolve, reject })),
    partitioned: () => ['public.events'],
    onMember: (oid, tables) => members.push({ oid, tables }),
    onNews: (heartbeat) => news.push(heartbeat),
    onUnreadablePurge: () => undefined,
    onFailure: (error) => failures.push(error),
  });
  reader.attach({
    backendPid: 1,
    pause: () => (socket = 'paused'),
    resume: () => (socket = 'flowing'),
    confirm: () => undefined,
    ping: () => undefined,
    close: async () => undefined,
  });
});

/** Receives as the stream delivers: from a buffer that is used again afterwards. */
function receive(...messages: readonly Buffer[]): void {
  for (const message of messages) {
    const shared = Buffer.from(message);
    reader.receive(shared);
    shared.fill(0);
  }
}

const describeEvents = (table = 'events') =>
  wire.relation({ oid: OID, schema: 'public', table, columns: [{ name: 'id', identity: true }] });

function insertion(id: string): Buffer[] {
  at += 10;
  return [
    wire.begin({ finalLsn: at, atUs: 0, xid: at }),
    wire.insert(OID, [t(id)]),
    wire.commit({ start: at, end: at + 8, atUs: 0 }),
  ];
}

const settled = () => new Promise(setImmediate);

describe('a relation that has to be looked up', () => {
  it('stops the stream; what had arrived by then is taken in afterwards, in order', async () => {
    receive(...insertion('0').slice(0, 1), describeEvents());
    expect(socket).toBe('paused');
    receive(
      wire.insert(OID, [t('1')]),
      wire.commit({ start: 10, end: 18, atUs: 0 }),
      wire.message({ transactional: false, lsn: 19, prefix: 'tidemark.heartbeat', content: '' }),
    );
    expect(outbox.dirty).toBe(false);
    lookUps[0]?.resolve({ published: true, lineage: ['public.events'] });
    await settled();
    expect(socket).toBe('flowing');
    expect(news).toEqual([false, true]);
    expect(outbox.take()).toMatchObject({ from: 0, to: 19, commits: [18] });
  });

  it('that cannot be looked up ends the stream', async () => {
    receive(describeEvents());
    lookUps[0]?.reject(new Error('connection lost'));
    await settled();
    expect(failures.map(({ message }) => message)).toEqual(['connection lost']);
    receive(...insertion('1'));
    expect(outbox.dirty).toBe(false);
  });

  it('stays a partition of its root after it was detached', async () => {
    receive(describeEvents('events_1'));
    lookUps[0]?.resolve({ published: true, lineage: ['public.events_1', 'public.events'] });
    await settled();
    receive(describeEvents('events_1'));
    lookUps[1]?.resolve({ published: false, lineage: ['public.events_1'] });
    await settled();
    receive(...insertion('1'));
    expect(outbox.take().tables.map(({ table }) => table)).toEqual(['events']);
    const tables = ['public.events_1', 'public.events'];
    expect(members).toEqual([tables, tables].map((lineage) => ({ oid: OID, tables: lineage })));
  });

  // Its rows went with it, which no change of a row tells: the next look at the catalog has to.
  it.each([
    ['detached', { published: false, lineage: ['public.events_1'] }],
    ['dropped', undefined],
  ] as const)(
    'that was %s before anybody looked may have been a partition of any table, and is gone from it',
    async (_, facts) => {
      receive(describeEvents('events_1'));
      lookUps[0]?.resolve(facts);
      await settled();
      expect(members).toEqual([{ oid: OID, tables: ['public.events'] }]);
      receive(...insertion('1'));
      expect(outbox.take().tables.map(({ table }) => table)).toEqual(['events']);
    },
  );

  it('that is no partition is not taken for one', async () => {
    receive(describeEvents());
    lookUps[0]?.resolve({ published: true, lineage: ['public.events'] });
    await settled();
    expect(members).toEqual([]);
  });
});

describe('a full outbox', () => {
  it('stops the stream until there is room', async () => {
    receive(describeEvents());
    lookUps[0]?.resolve({ published: true, lineage: ['public.events'] });
    await settled();
    receive(...insertion('1'), ...insertion('2'), ...insertion('3'), ...insertion('4'));
    expect(socket).toBe('paused');
    expect(reader.paused).toBe(true);
    const taken: (readonly number[])[] = [];
    while (outbox.dirty) {
      taken.push(outbox.take().commits);
      reader.drain();
    }
    expect(taken).toEqual([[18], [28], [38], [48]]);
    expect(socket).toBe('flowing');
  });
});

describe('keepalives', () => {
  it('move the position only when everything before them was taken in', async () => {
    reader.keepalive(5);
    expect(outbox.reached).toBe(5);
    receive(describeEvents());
    reader.keepalive(7);
    expect(outbox.reached).toBe(5);
    lookUps[0]?.resolve({ published: true, lineage: ['public.events'] });
    await settled();
    receive(...insertion('1').slice(0, 2));
    reader.keepalive(9);
    expect(outbox.reached).toBe(5);
    receive(wire.commit({ start: 10, end: 18, atUs: 0 }));
    reader.keepalive(20);
    expect(outbox.reached).toBe(20);
  });
});

it('ends the stream at the first message that makes no sense', () => {
  receive(wire.insert(OID, [t('1')]));
  expect(failures.map(({ name }) => name)).toEqual(['PgoutputError']);
  expect(socket).toBe('paused');
});
