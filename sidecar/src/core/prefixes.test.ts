import type { Entry } from '@tidemark/proto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { HandL2 } from '../testing/hand-l2.ts';
import { testCore, tokenOf } from '../testing/core.ts';

// A purge by prefix in a sidecar: it evicts, dooms and fences what begins so, and nothing else.

const byPrefix = (...prefixes: readonly string[]) => [{ namespace: 'user', keys: [], tags: [], prefixes, all: false }];

function live(options: Parameters<typeof testCore>[0] = {}) {
  const core = testCore(options);
  core.stream.say();
  const fill = (key: string): void => void core.put('user', key, tokenOf(core.get('user', key)));
  const entryAt = (asOf: number): Entry => {
    const nowMs = core.clock.wallMs();
    const times = { storedAtMs: nowMs, freshUntilMs: nowMs + 1e6, expiresAtMs: nowMs + 1e6, keepUntilMs: nowMs + 1e6 };
    const texts = { contentType: 'text/plain', etag: '"e"', tags: [] };
    return { ...times, ...texts, asOf, epoch: 1, loadMs: 0, absent: false, body: new Uint8Array() };
  };
  return { ...core, fill, entryAt };
}

it('[I6] [I11] evicts every key that begins so, and no other', () => {
  const { stream, fill, of } = live();
  const keys = ['mail:a', 'mail:b', 'mail', 'email:a', 'Mail:a', '42'];
  for (const key of keys) fill(key);
  stream.say({ purges: byPrefix('mail:') });
  expect(keys.filter((key) => of('user').l1.get(key) === undefined)).toEqual(['mail:a', 'mail:b']);
  expect(of('user').counters.evictedByPrefix).toBe(2);
});

it('[I5] [I11] refuses the fill that was begun before, lets the next in line load at once, and takes other fills', () => {
  const { stream, get, put, of } = live();
  const [late, other] = [tokenOf(get('user', 'mail:a')), tokenOf(get('user', 'name:a'))];
  const next = get('user', 'mail:a');
  expect(next.outcome).toBeUndefined();
  stream.say({ purges: byPrefix('mail:') });
  const token = tokenOf(next);
  expect(put('user', 'mail:a', late)).toMatchObject({ kind: 'refused', why: 'fenced' });
  expect(put('user', 'name:a', other)).toMatchObject({ kind: 'stored' });
  expect(put('user', 'mail:a', token)).toMatchObject({ kind: 'stored' });
  expect(of('user').l1.get('mail:a')).toBeDefined();
});

it('[I7] [I11] refuses what Redis has from before, as long as its log has not come so far', async () => {
  const l2 = new HandL2();
  const { stream, get, entryAt, replica, reader } = live({ l2 });
  const before = replica.applied;
  stream.say({ purges: byPrefix('mail:') });
  const answers = async (key: string, to: number) => {
    const read = get('user', key);
    const context = { log: `1 g a 1 0 0 ${to} ${to} 5 d -`, pair: 'a 0 0' };
    await l2.reads.at(-1)?.answer({ entry: entryAt(before), generation: 'g', context });
    return read.outcome?.kind;
  };
  expect(await answers('mail:a', before)).toBe('miss');
  expect([...reader.l2Misses]).toEqual([['fenced', 1]]);
  expect(await answers('name:a', before)).toBe('value');
});

it('[I13] more prefixes than a record may have, or more keys than can be compared, cost the namespace', () => {
  const { stream, of, fill, entryAt, replica } = live({ l1Bytes: '32MiB' });
  fill('other');
  stream.say({ purges: byPrefix(...Array.from({ length: 5 }, (_, i) => `${i}:`)) });
  expect(of('user').l1.entries).toBe(1);
  stream.say({ purges: byPrefix(...Array.from({ length: 6 }, (_, i) => `${i}:`)) });
  expect(of('user').l1.entries).toBe(0);
  for (let i = 0; i <= 20_000; i++) of('user').l1.set(`k${i}`, entryAt(replica.applied));
  stream.say({ purges: byPrefix('nothing:') });
  expect(of('user').l1.entries).toBe(0);
  for (let i = 0; i <= 5_000; i++) of('user').l1.set(`k${i}`, entryAt(replica.applied));
  of('user').l1.set('other', entryAt(replica.applied));
  stream.say({ purges: byPrefix('k') });
  expect(of('user').l1.entries).toBe(0);
});

it('[I6] [I11] whatever is stored and purged in whatever order, nothing stays that was loaded before its purge', () => {
  const key = fc.constantFrom('a', 'ab', 'abc', 'b', 'ba', 'c');
  const step = fc.oneof(
    fc.record({ do: fc.constantFrom('ask', 'fill'), name: key }),
    fc.record({ do: fc.constant('purge'), name: fc.constantFrom('a', 'ab', 'b', 'abcd') }),
    fc.record({ do: fc.constant('hide'), name: fc.constantFrom('a', 'ab', 'b') }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { stream, get, put, of, replica } = live({ waiters: 1 });
      const leases: { name: string; token: string; readAt: number }[] = [];
      const purged: { name: string; at: number }[] = [];
      const readAt = new Map<string, number>();
      steps.forEach(({ do: what, name }, now) => {
        if (what === 'purge' || what === 'hide') {
          // Hidden: the stream has the purge before readers see what it was about, so a lease of now is older still.
          stream.say({ purges: byPrefix(name), ...(what === 'hide' && { visible: replica.visible }) });
          purged.push({ name, at: now });
        } else if (what === 'ask') {
          const { outcome } = get('user', name, 'reload');
          if (outcome?.kind === 'miss' && outcome.lease !== undefined)
            leases.push({ name, token: outcome.lease.token, readAt: now });
        } else {
          const at = leases.findIndex((lease) => lease.name === name);
          const [lease] = at < 0 ? [] : leases.splice(at, 1);
          const filled = lease && put('user', name, lease.token);
          if (lease !== undefined && filled?.kind === 'stored' && filled.entry === of('user').l1.get(name))
            readAt.set(name, Math.max(lease.readAt, readAt.get(name) ?? 0));
        }
        for (const [held] of of('user').l1.recent(10)) {
          const loadedAt = readAt.get(held) ?? -1;
          expect(purged.some((purge) => held.startsWith(purge.name) && purge.at > loadedAt)).toBe(false);
        }
      });
    }),
  );
});
