import { afterAll, beforeAll, expect, it } from 'vitest';
import type { App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { LaggingSidecar } from './support/lagging.ts';
import { PATIENT } from './support/patient.ts';
import { useStack } from './support/stack.ts';

// A sidecar whose stream lags behind as long as the test wants: it follows a copy of the topic. Its own memory cannot know
// of the change yet, so only the fence log in Redis stands between its fill and the other sidecars.

const used = useStack({
  initSql: `create table items (id int primary key, name text); insert into items values (1, 'old'), (2, 'old')`,
  config: {
    namespaces: { items: { source: 'main', invalidate: [{ table: 'public.items', keys: ['{id}'], tags: ['all'] }] } },
  },
  env: { sidecar: PATIENT },
});
const onlyIfCached = { 'cache-control': 'only-if-cached' };

let lagging: LaggingSidecar;

beforeAll(async () => {
  lagging = await LaggingSidecar.start(used.stack);
});

afterAll(() => lagging?.stop());

const update = "update items set name = name || '!' where id = 1";
const purge = `select pg_logical_emit_message(true, 'tidemark', '{"purge":[{"namespace":"items","prefixes":["by-name:"]}]}')`;

it.each([
  ['by its key', '1', undefined, update],
  ['by a tag', 'page', ['all'], update],
  ['by what it begins with', 'by-name:old', undefined, purge],
])(
  '[I5] [I7] a fill from before a change reaches nobody, although its sidecar has not heard of the change, %s',
  async (_, key, tags, change) => {
    const [fast] = used.apps as [App];
    const slow = lagging.app;
    const { lease } = await eventually(async () => {
      const answer = await slow.get('items', key, { 'cache-control': 'no-cache' });
      expect(answer.lease).toBeDefined();
      return answer;
    });
    const letFlow = lagging.holdBack();
    try {
      await eventually(async () => {
        const { lease: earlier } = await fast.get('items', key, { 'cache-control': 'no-cache' });
        await fast.put('items', key, 'old', { lease: earlier, ...(tags && { tags }) });
        expect((await fast.get('items', key, onlyIfCached)).body).toBe('old');
      });
      await used.stack.sql(change);
      await eventually(async () => expect((await fast.get('items', key, onlyIfCached)).status).toBe(404));
      // The log in Redis has the change: a fresh fill is stored there under it.
      await eventually(async () => {
        const fresh = await fast.get('items', `${key}-fence`, { 'cache-control': 'no-cache' });
        expect((await fast.put('items', `${key}-fence`, 'new', { lease: fresh.lease })).status).toBeOneOf([201, 204]);
        expect((await slow.get('items', `${key}-fence`)).status).toBe(200);
      });
      // Right by what it knows: the sidecar has applied nothing since it gave the lease.
      expect((await slow.put('items', key, 'old', { lease, ...(tags && { tags }) })).status).toBe(201);
      for (let i = 0; i < 20; i += 1) expect((await fast.get('items', key, onlyIfCached)).body).not.toBe('old');
    } finally {
      letFlow();
    }
    await eventually(async () => expect((await slow.get('items', key, onlyIfCached)).status).toBe(404));
  },
);
