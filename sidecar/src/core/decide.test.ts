import type { Entry, NamespaceRules } from '@tidemark/proto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decideUnlogged, mayReplace } from './decide.ts';
import type { ReplicaView } from './replica.ts';

const namespace = { name: 'user', hashHex: '0'.repeat(16) } as unknown as NamespaceRules;
const position = fc.integer({ min: 0, max: 50 });
const times = { storedAtMs: 0, freshUntilMs: 100, expiresAtMs: 100, keepUntilMs: 200, loadMs: 0 };
const entryOf = (asOf: number, epoch = 1): Entry => ({
  ...{ ...times, asOf, epoch, absent: false, contentType: '', etag: '', tags: [], body: new Uint8Array(0) },
});

function replica(of: { epoch: number; horizon: number; fence: number; covered: boolean }): ReplicaView {
  const { epoch, horizon, fence, covered } = of;
  return { epoch, horizon, covers: () => covered, newestFence: () => fence } as unknown as ReplicaView;
}

describe('[I17] an entry of a backend without a fence log', () => {
  it('is served iff it is of the epoch, from within what the sidecar knows, covered, not fenced since, and alive', () => {
    fc.assert(
      fc.property(
        fc.record({
          asOf: position,
          horizon: position,
          fence: position,
          epochs: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 2 })),
          covered: fc.boolean(),
          wallMs: fc.integer({ min: 90, max: 110 }),
        }),
        ({ asOf, horizon, fence, epochs: [mine, its], covered, wallMs }) => {
          const view = replica({ epoch: mine, horizon, fence, covered });
          const refusal = decideUnlogged(view, { entry: entryOf(asOf, its), namespace, key: 'k', wallMs });
          const servable = mine === its && asOf >= horizon && covered && fence <= asOf && wallMs < 100;
          expect(refusal === undefined).toBe(servable);
        },
      ),
    );
  });

  it('that expired, and nothing else, is said to have expired: it may still stand in for one that cannot be loaded', () => {
    const found = { entry: entryOf(10), namespace, key: 'k', wallMs: 150 };
    const view = { epoch: 1, horizon: 10, fence: 10, covered: true };
    expect(decideUnlogged(replica(view), found)).toBe('expired');
    expect(decideUnlogged(replica({ ...view, fence: 11 }), found)).toBe('fenced');
    expect(decideUnlogged(replica({ ...view, horizon: 11 }), found)).toBe('behind');
    expect(decideUnlogged(replica({ ...view, covered: false }), found)).toBe('namespace');
    expect(decideUnlogged(replica({ ...view, epoch: 2 }), found)).toBe('epoch');
  });

  it('gives way to one that is as new or newer, and to any of another epoch', () => {
    fc.assert(
      fc.property(position, position, fc.boolean(), (present, next, sameEpoch) => {
        const replaced = mayReplace(entryOf(present), entryOf(next, sameEpoch ? 1 : 2));
        expect(replaced).toBe(!sameEpoch || next >= present);
      }),
    );
  });
});
