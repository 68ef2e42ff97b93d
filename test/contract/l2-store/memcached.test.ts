import { createHash } from 'node:crypto';
import { createMemcached, type MemcachedClient } from '@tidemark/runtime';
import { describe } from 'vitest';
import { MemcachedStore } from '../../../sidecar/src/adapters/memcached/store.ts';
import { eventually } from '../../integration/support/eventually.ts';
import { startMemcached } from '../../kit/index.ts';
import { l2Contract } from './suite.ts';
import { DEADLINE_MS, logger, PACKING, user, type L2World } from './world.ts';

// Its clock ticks once a second, so what ends there ends up to two seconds late. Nobody there knows of epochs or invalidations.
const DIFFERENCES = { hasLog: false, maxValueBytes: Infinity, slackMs: 2_000 };
const MAX_VALUE_BYTES = 1024 * 1024 - 512;

async function memcachedWorld(count: number): Promise<L2World> {
  const servers = await Promise.all(Array.from({ length: count }, () => startMemcached()));
  const url = `memcached://${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  const connect = (): MemcachedClient =>
    createMemcached(url, { deadlineMs: DEADLINE_MS, logger, maxValueBytes: MAX_VALUE_BYTES });
  const client = connect();
  // What stands there is looked at once the backend answers, however late.
  const patient = createMemcached(url, { deadlineMs: 60_000, logger, maxValueBytes: MAX_VALUE_BYTES });
  await eventually(() => {
    if (!client.isUp || !patient.isUp) throw new Error('no connection yet');
  });
  const nameOf = (key: string): string =>
    `tidemark1:${user.hashHex}:${createHash('sha256').update(key).digest('base64url')}`;
  return {
    newStore: () =>
      new MemcachedStore({
        ...{ client, source: 'main', deadlineMs: DEADLINE_MS, maxValueBytes: MAX_VALUE_BYTES },
        packing: () => PACKING,
        onLatency: () => undefined,
      }),
    async reset() {
      for (const server of servers) await server.flush();
    },
    invalidate: undefined,
    async damage(key, { at, cut }) {
      const bytes = (await patient.gets(nameOf(key)))?.value;
      if (bytes === undefined) throw new Error(`nothing lies under ${key}`);
      const place = at % bytes.length;
      const changed = Buffer.from(bytes);
      changed[place] = (changed[place] ?? 0) ^ (1 << (at % 8));
      await patient.set(nameOf(key), cut ? bytes.subarray(0, place) : changed, 60);
    },
    async ttlMs(key) {
      // `HD t90`: the item is there, and has so many seconds; `EN`: it is gone (doc/protocol.txt, "Meta Get").
      const answers = await Promise.all(servers.map((server) => server.ask(`mg ${nameOf(key)} t`)));
      return 1000 * Number(answers.find((answer) => answer.startsWith('HD t'))?.slice(4) ?? 0);
    },
    pause: () => {
      for (const server of servers) server.pause();
    },
    resume: () => {
      for (const server of servers) server.resume();
    },
    async close() {
      client.close();
      patient.close();
      for (const server of servers) await server.stop();
    },
  };
}

describe.each([1, 3])('memcached, %i of them', (count) => {
  l2Contract(() => memcachedWorld(count), DIFFERENCES);
});
