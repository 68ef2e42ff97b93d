import type { LogHeader } from '@tidemark/proto/redis';
import { describe, expect, it } from 'vitest';
import { afterUnreadable, decide, MAX_OLDER, startOffset, viewOf, type LogView, type ReadState } from './applier.ts';
import { FenceSet } from './applier-fences.ts';
import type { Group } from './applier-groups.ts';

const header: LogHeader = {
  ...{ generation: 'g', adoption: 'g', epoch: 3, from: 50, tagFrom: 50, to: 100, visible: 100 },
  ...{ offset: '20', digest: 'd', parts: '-' },
};
const known: LogView = { text: 'x', header, broken: undefined };
const reading: ReadState = { previousOffset: 19, isAfterReset: false, older: 0 };

function group(more: Partial<Group>): Group {
  return {
    ...{ kind: 'group', epoch: 3, from: 100, to: 110, visible: 110, nextOffset: 21, isTooNew: false },
    ...{ records: 1, publishedAtUs: 0, applied: { namespaces: [], digest: 'd' } },
    fences: new FenceSet({ namespaces: [], maxNames: 1 }),
    ...more,
  };
}

describe('decide', () => {
  it('applies what continues the log, also what overlaps it', () => {
    expect(decide(known, group({}), reading)).toEqual({ kind: 'apply', header });
    expect(decide(known, group({ from: 90 }), reading)).toEqual({ kind: 'apply', header });
  });

  it('first takes over the log when other namespaces are applied', () => {
    const action = decide(known, group({ applied: { namespaces: [], digest: 'other' } }), reading);
    expect(action).toEqual({ kind: 'adopt', header });
  });

  it('tells a log that has everything only what is new', () => {
    const old = { from: 90, to: 100, visible: 100, nextOffset: 20 };
    expect(decide(known, group(old), reading)).toEqual({ kind: 'skip' });
    expect(decide(known, group({ ...old, nextOffset: 21 }), reading)).toEqual({ kind: 'touch', header });
    expect(decide({ ...known, header: { ...header, visible: 95 } }, group(old), reading).kind).toBe('touch');
  });

  it('ignores what a publisher of an older epoch wrote', () => {
    const older = group({ epoch: 2, from: 500, to: 600 });
    expect(decide(known, older, reading)).toEqual({ kind: 'pass', header });
    expect(decide({ ...known, header: { ...header, offset: '21' } }, older, reading)).toEqual({ kind: 'skip' });
  });

  it('goes on with an older epoch when nothing else is written any more', () => {
    const older = group({ epoch: 2, from: 500, to: 600 });
    expect(decide(known, older, { ...reading, older: MAX_OLDER - 1 })).toEqual({ kind: 'pass', header });
    expect(decide(known, older, { ...reading, older: MAX_OLDER })).toEqual({ kind: 'begin', reason: 'epoch' });
  });

  it.each([
    ['missing', { ...known, header: undefined }, {}, reading],
    ['damaged', { ...known, broken: 'damaged' as const }, {}, reading],
    ['unreadable', { ...known, broken: 'unreadable' as const }, {}, reading],
    ['unreadable', known, { isTooNew: true }, reading],
    ['epoch', known, { epoch: 4, from: 5, to: 6 }, reading],
    ['gap', known, { from: 101 }, reading],
    ['gap', known, { from: 101 }, { ...reading, previousOffset: undefined }],
    ['lost', known, { from: 101 }, { ...reading, previousOffset: undefined, isAfterReset: true }],
  ])('begins a generation: %s', (reason, view, more, read) => {
    expect(decide(view, group(more), read)).toEqual({ kind: 'begin', reason });
  });

  it('reads Kafka again when it has read records that the log does not have', () => {
    const read = { ...reading, previousOffset: 20 };
    expect(decide(known, group({ from: 101, nextOffset: 22 }), read)).toEqual({ kind: 'seek', offset: 20 });
  });

  it('does not read again what it has just read again: a log that is still behind then lacks what Kafka never had', () => {
    const read = { ...reading, previousOffset: undefined };
    expect(decide(known, group({ from: 101, nextOffset: 30 }), read).kind).toBe('begin');
  });
});

it('an unreadable record breaks the logs that have not got beyond it', () => {
  expect(afterUnreadable(known, 20).broken).toBe('unreadable');
  expect(afterUnreadable(known, 19).broken).toBeUndefined();
  expect(afterUnreadable({ ...known, header: undefined }, 99).broken).toBeUndefined();
});

it('only the answer tells of damage', () => {
  expect(viewOf({ status: 'damaged', text: 'x', header, deleted: 0, chunks: [] }).broken).toBe('damaged');
  expect(viewOf({ status: 'hole', text: 'x', header, deleted: 0, chunks: [] }).broken).toBeUndefined();
});

it('reading begins where the log that is furthest behind is', () => {
  const ahead = { ...known, header: { ...header, offset: '100' } };
  expect(startOffset([ahead, known])).toBe(20);
  expect(startOffset([ahead, { ...known, header: undefined }])).toBe(100);
  expect(startOffset([{ ...known, header: undefined }])).toBeUndefined();
});
