import { compareConfigStamps, type ConfigStamp } from '@tidemark/proto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigPublication, YIELD_MS } from './config-publication.ts';

const wanted = 'new';
const held = (term: number, revision: number, text = wanted) => ({ term, revision, text });

function decide(publication: ConfigPublication, topic: Parameters<ConfigPublication['decide']>[0]['topic'], more = {}) {
  return publication.decide({ topic, wanted, leaderTerm: 0, nowMs: 0, ...more });
}

/** One that has published and sees it. */
function published(leaderTerm = 3): ConfigPublication {
  const publication = new ConfigPublication();
  const stamp = decide(publication, { held: undefined, isBuried: false }, { leaderTerm })!;
  publication.published(stamp, 0);
  return publication;
}

describe('ConfigPublication', () => {
  it('begins above every term in the topic, whatever its own count is', () => {
    expect(decide(new ConfigPublication(), { held: undefined, isBuried: false })).toEqual({ term: 0, revision: 1 });
    expect(decide(new ConfigPublication(), { held: held(5, 9), isBuried: false }, { leaderTerm: 2 })).toEqual({
      term: 6,
      revision: 1,
    });
    expect(decide(new ConfigPublication(), { held: held(5, 9), isBuried: false }, { leaderTerm: 8 })).toEqual({
      term: 8,
      revision: 1,
    });
  });

  it('says nothing where its own record is the newest and says what holds', () => {
    expect(decide(published(), { held: held(3, 1), isBuried: false })).toBeUndefined();
  });

  it('publishes what has changed', () => {
    expect(decide(published(), { held: held(3, 1, 'old'), isBuried: false })).toEqual({ term: 3, revision: 2 });
  });

  it('waits until it sees its own record, and writes it again if it never does', () => {
    const publication = published();
    expect(decide(publication, { held: undefined, isBuried: false }, { nowMs: 4000 })).toBeUndefined();
    expect(decide(publication, { held: undefined, isBuried: false }, { nowMs: 6000 })).toEqual({
      term: 3,
      revision: 2,
    });
  });

  it('writes again above what a replaced leader wrote late', () => {
    expect(decide(published(), { held: held(3, 1), isBuried: true })).toEqual({ term: 3, revision: 2 });
  });

  it('gives way to a later term, unless nobody is behind it', () => {
    const publication = published();
    const later = { held: held(4, 1), isBuried: false };
    expect([decide(publication, later, { nowMs: 10 }), publication.isYielding]).toEqual([undefined, true]);
    expect(decide(publication, later, { nowMs: YIELD_MS })).toBeUndefined();
    expect(decide(publication, later, { nowMs: YIELD_MS + 10 })).toEqual({ term: 5, revision: 1 });
  });

  it('whoever publishes into one topic, the last leader settles it, and readers only go forward', () => {
    const leaders = 3;
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(leaders - 1), fc.boolean()), { maxLength: 40 }), (steps) => {
        const publications = Array.from({ length: leaders }, () => new ConfigPublication());
        const log: (ConfigStamp & { text: string })[] = [];
        const view = () => {
          let newest: (typeof log)[number] | undefined;
          let isBuried = false;
          for (const record of log) {
            isBuried = newest !== undefined && compareConfigStamps(record, newest) < 0;
            if (!isBuried) newest = record;
          }
          return { held: newest, isBuried };
        };
        let late: (() => void) | undefined;
        let nowMs = 0;
        const step = (who: number, isLate: boolean): void => {
          nowMs += 6000;
          const publication = publications[who]!;
          const text = String(who);
          const stamp = publication.decide({ topic: view(), wanted: text, leaderTerm: who, nowMs });
          if (stamp === undefined) return;
          const append = (): void => void log.push({ ...stamp, text });
          publication.published(stamp, nowMs);
          late?.();
          late = isLate ? append : undefined;
          if (!isLate) append();
        };
        for (const [who, isLate] of steps) step(who, isLate);
        late?.();
        // From here on one leads alone.
        for (let i = 0; i < 12; i++) step(0, false);
        expect(view()).toMatchObject({ held: { text: '0' }, isBuried: false });
      }),
    );
  });
});
