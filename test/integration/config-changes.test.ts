import { readFile, rename, writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { Checker, describeStaleRead } from '../history/checker.ts';
import { createStack, type Stack } from '../kit/index.ts';
import { deleteTopic, uniqueWord } from '../kit/names.ts';
import { sharedServers } from '../kit/shared.ts';
import { appsOf, type App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';

// The document changes while everything runs: Postgres, Kafka, Redis, the invalidator that publishes it, an applier and two
// sidecars that follow it. Nothing is started again.

const topic = `${uniqueWord()}.config`;
const byKey = { source: 'main', invalidate: [{ table: 'public.items', keys: ['{id}'] }] };
const byTag = { source: 'main', invalidate: [{ table: 'public.items', tags: ['item:{id}'] }] };
const others = { source: 'main', invalidate: [{ table: 'public.others', keys: ['{id}'] }] };
const ITEMS = 20;

let stack: Stack;
let apps: readonly [App, App];

beforeAll(async () => {
  const follows = { TIDEMARK_CONFIG: '', TIDEMARK_CONFIG_TOPIC: topic };
  stack = await createStack(sharedServers(), {
    sidecars: 2,
    supervise: false,
    env: { invalidator: { TIDEMARK_CONFIG_TOPIC: topic }, applier: follows, sidecar: follows },
    initSql: `
      create table items (id int primary key, version int not null default 1);
      create table others (id int primary key, version int not null default 1);
      create table quiet (id int primary key, version int not null default 1);
      insert into items select n from generate_series(1, ${ITEMS}) n;
      insert into others select n from generate_series(1, 5) n;
      insert into quiet select n from generate_series(1, 5) n;
    `,
    config: {
      namespaces: {
        items: byKey,
        quiet: { source: 'main', invalidate: [{ table: 'public.quiet', keys: ['{id}'] }] },
      },
    },
  });
  apps = appsOf(stack) as [App, App];
  await cacheable(stack);
});

afterAll(async () => {
  await stack?.stop();
  await deleteTopic(sharedServers(), topic);
});

beforeEach(() => showLogsOnFailure(stack));

interface Document {
  readonly namespaces: Readonly<Record<string, object>>;
}

/** Another document in place of the one before, as kubelet does it. */
async function change(edit: (namespaces: Document['namespaces']) => Record<string, object>): Promise<void> {
  const document = parse(await readFile(stack.configFile, 'utf8')) as Document;
  await writeFile(`${stack.configFile}.new`, stringify({ ...document, namespaces: edit(document.namespaces) }));
  await rename(`${stack.configFile}.new`, stack.configFile);
}

interface Status {
  readonly config: { readonly revision: number; readonly complaint: string | null };
  readonly rules: Readonly<Record<string, { readonly hash: string }>>;
}

async function statusOf(i: number): Promise<Status> {
  return (await (await fetch(`${stack.sidecars[i]?.url}/v1/status`)).json()) as Status;
}

/** Until every sidecar says so of its rules. */
async function taken(check: (status: Status) => void): Promise<void> {
  for (const i of [0, 1]) await eventually(async () => check(await statusOf(i)), { withinMs: 60_000, everyMs: 10 });
}

async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.slice(name.length + 1),
  );
}

const load = async (table: string, id: number): Promise<string> =>
  String((await stack.sql<{ version: number }>(`select version from ${table} where id = $1`, [id]))[0]?.version);

const fetched = (app: App, namespace: string, id: number, tags?: readonly string[]) =>
  app.read(namespace, String(id), () => load(namespace, id), tags && { tags });

const onlyIfCached = { 'cache-control': 'only-if-cached' };

/** Until a value that one sidecar stores is found by the other in Redis: the applier has heard of the namespace too. */
async function shared(namespace: string, id: number): Promise<void> {
  const [a, b] = apps;
  await eventually(
    async () => {
      await stack.sql(`update ${namespace} set version = version + 1 where id = $1`, [id]);
      await pause(50);
      await fetched(a, namespace, id);
      expect((await b.get(namespace, String(id), onlyIfCached)).cacheStatus).toContain('detail=l2');
    },
    { withinMs: 60_000, everyMs: 100 },
  );
}

describe('[I16] without a restart', () => {
  it('a namespace that is added is served by every sidecar, shared through Redis, and evicted', async () => {
    const pids = [stack.applier, ...stack.sidecars].map(({ pid }) => pid);
    expect((await apps[0].get('others', '1')).status).toBe(404);
    const startedAtMs = performance.now();
    await change((namespaces) => ({ ...namespaces, others }));
    await taken(({ rules }) => expect(rules).toHaveProperty('others'));
    process.stderr.write(`both sidecars had it after ${Math.round(performance.now() - startedAtMs)} ms\n`);
    await shared('others', 1);
    await stack.sql('update others set version = 1000 where id = 1');
    for (const app of apps)
      await eventually(async () => expect((await app.get('others', '1', onlyIfCached)).status).toBe(404));
    for (const app of apps) await eventually(async () => expect(await fetched(app, 'others', 1)).toBe('1000'));
    expect([stack.applier, ...stack.sidecars].map(({ pid }) => pid)).toEqual(pids);
  });

  it('rules change back and forth under load, and nobody is served an old value', { timeout: 400_000 }, async () => {
    const checker = new Checker();
    const stop = new AbortController();
    const versions = Array.from({ length: ITEMS + 1 }, () => 1);
    const answers = { hits: 0, misses: 0, bypassed: 0, refused: 0 };
    const writer = async (): Promise<void> => {
      for (let i = 0; !stop.signal.aborted; i++) {
        const id = 1 + (i % ITEMS);
        const ticket = checker.beginWrite();
        const version = (versions[id] as number) + 1;
        await stack.sql('update items set version = $2 where id = $1', [id, version]);
        const [row] = await stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
        versions[id] = version;
        checker.endWrite(ticket, performance.now(), {
          lsn: row?.lsn ?? '',
          rows: [{ row: `items/${id}`, version }],
        });
      }
    };
    const reader = async (app: App, sidecar: string, seed: number): Promise<void> => {
      for (let i = seed; !stop.signal.aborted; i++) {
        const id = 1 + (i % ITEMS);
        const found = await app.get('items', String(id));
        if (found.status === 200) {
          answers.hits += 1;
          const rows = [{ row: `items/${id}`, version: Number(found.body) }];
          checker.served({ sidecar, key: `items/${id}`, lsn: found.lsn ?? '', rows });
        } else if (found.lease === undefined) answers.bypassed += 1;
        else {
          answers.misses += 1;
          const value = await load('items', id);
          const put = await app.put('items', String(id), value, { lease: found.lease, tags: [`item:${id}`] });
          if (put.status >= 400) answers.refused += 1;
        }
      }
    };
    const work = [writer(), ...apps.flatMap((app, i) => [1, 2].map((n) => reader(app, `sidecar-${i}`, 7 * n + i)))];
    const before = (await statusOf(0)).rules['items']?.hash;
    const rounds = 8;
    for (let round = 0; round < rounds; round++) {
      const hash = (await statusOf(0)).rules['items']?.hash;
      await change((namespaces) => ({ ...namespaces, items: round % 2 === 0 ? byTag : byKey }));
      await taken(({ rules }) => expect(rules['items']?.hash).not.toBe(hash));
      const { hits } = answers;
      // It is served again under the new rules.
      await eventually(() => expect(answers.hits).toBeGreaterThan(hits + 200), { withinMs: 90_000 });
    }
    stop.abort();
    await Promise.all(work);
    checker.finish();
    expect((await statusOf(0)).rules['items']?.hash).toBe(before);
    process.stderr.write(`${JSON.stringify({ ...answers, checked: checker.checked })}\n`);
    expect(checker.offences.map(describeStaleRead)).toEqual([]);
    expect(checker.checked).toBeGreaterThan(200 * rounds);
    expect(await metric(stack.applier.url, 'tidemark_applier_holes_total')).toBe(0);
  });

  it('a TTL that is shortened ends what was stored before, here and in Redis, and leaves the others', async () => {
    const [a, b] = apps;
    await shared('others', 2);
    await eventually(async () => {
      await fetched(a, 'quiet', 1);
      expect((await a.get('quiet', '1', onlyIfCached)).cacheStatus).toContain('detail=l1');
    });
    const { revision } = (await statusOf(0)).config;
    await change((namespaces) => ({ ...namespaces, others: { ...others, ttl: { hard: '1s' } } }));
    await taken(({ config }) => expect(config.revision).toBeGreaterThan(revision));
    await pause(1_100);
    await eventually(async () => {
      for (const app of [a, b]) expect((await app.get('others', '2', onlyIfCached)).status).toBe(404);
    });
    expect((await a.get('quiet', '1', onlyIfCached)).cacheStatus).toContain('detail=l1');
  });

  it('a namespace that is removed is unknown, and what is left keeps its memory and its counters', async () => {
    const [a] = apps;
    await eventually(async () => {
      await fetched(a, 'quiet', 2);
      expect((await a.get('quiet', '2', onlyIfCached)).cacheStatus).toContain('detail=l1');
    });
    const name = 'tidemark_requests_total{namespace="quiet",result="hit_l1"}';
    const admin = stack.sidecars[0]?.admin ?? '';
    const hits = await metric(admin, name);
    await change((namespaces) => Object.fromEntries(Object.entries(namespaces).filter(([each]) => each !== 'others')));
    await taken(({ rules }) => expect(rules).not.toHaveProperty('others'));
    expect(await a.get('others', '1')).toMatchObject({
      status: 404,
      body: expect.stringContaining('unknown-namespace'),
    });
    expect(await (await fetch(`${admin}/metrics`)).text()).not.toContain('namespace="others"');
    expect((await a.get('quiet', '2', onlyIfCached)).cacheStatus).toContain('detail=l1');
    expect(await metric(admin, name)).toBe(hits + 1);
  });

  it('a sidecar for some namespaces serves those, under the same rules as the others', async () => {
    const sidecar = await stack.addSidecar({ TIDEMARK_NAMESPACES: 'items, not-there' });
    const { rules } = (await (await fetch(`${sidecar.url}/v1/status`)).json()) as Status;
    expect(rules).toEqual({ items: (await statusOf(0)).rules['items'] });
    const response = await fetch(`${sidecar.url}/v1/cache/quiet/1`);
    expect([response.status, await response.text()]).toEqual([404, expect.stringContaining('unknown-namespace')]);
    expect(stack.logs(sidecar.name).join('\n')).toContain('namespaces that the document does not have');
    await sidecar.stop();
  });
});
