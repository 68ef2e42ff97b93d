import { z } from 'zod';
import { grace, onInvalidate } from './grace.ts';
import { l1 } from './l1.ts';
import { l2 } from './l2.ts';
import { headersOfLoad, load } from './load.ts';
import { name } from './name.ts';
import { KIB, MIB, size } from './quantities.ts';
import { refresh } from './refresh.ts';
import { rule } from './rule.ts';
import { show } from './show.ts';
import { ttl } from './ttl.ts';
import { vary } from './vary.ts';
import { warm } from './warm.ts';
import { writeBehind } from './write-behind.ts';
import { writeThrough, type WriteThroughConfig } from './write-through.ts';

const DEFAULT_MAX_ITEM_BYTES = MIB;
/** What the sidecar's memory needs for an entry besides its value, unless its tags are many: key, tags, bookkeeping. */
export const ENTRY_ROOM_BYTES = 4 * KIB;

/** One namespace of the document. */
export const namespaceSchema = z
  .strictObject({
    source: name.describe('The source whose changes invalidate this namespace.'),
    invalidation: z
      .enum(['rules', 'ttl_only'])
      .default('rules')
      .describe('ttl_only gives up coherence: entries live until their TTL and are filled without a lease.'),
    ttl: ttl.prefault({}),
    vary: vary.optional().describe('By what request headers the values of one key differ.'),
    onInvalidate,
    grace: grace.optional(),
    l1: l1.prefault({}),
    l2: l2.prefault({}),
    refresh: refresh.prefault({}),
    maxItemBytes: size('1B to 16MiB', { min: 1, max: 16 * MIB })
      .optional()
      .describe(
        'Largest value that may be stored. Default: 1MiB, or 4KiB less than l1.maxBytes where that is smaller.',
      ),
    writeThrough: writeThrough.optional().describe('How PUT and DELETE /v1/write reach the database, at once.'),
    writeBehind: writeBehind.optional(),
    warm: warm.optional().describe('What is read into memory before anybody asks; without it nothing is.'),
    load: load.optional().describe('How the sidecar loads missing values itself; without it callers do.'),
    invalidate: z.array(rule).max(256).default([]).describe('Which row changes evict what.'),
  })
  .superRefine((value, context) => {
    if (value.invalidation === 'rules' && value.invalidate.length === 0) {
      context.addIssue({
        code: 'custom',
        path: ['invalidate'],
        message:
          'found no rule, expected at least one: without rules nothing would ever evict these entries (or say invalidation: ttl_only)',
      });
    }
    if (value.grace !== undefined && value.onInvalidate === 'evict') {
      context.addIssue({
        code: 'custom',
        path: ['grace'],
        message:
          'found settings of grace, expected none with onInvalidate: evict (say onInvalidate: stale to keep what was invalidated)',
      });
    }
    if (value.writeBehind !== undefined && value.invalidation === 'ttl_only') {
      context.addIssue({
        code: 'custom',
        path: ['writeBehind'],
        message:
          'found writes with invalidation: ttl_only, expected rules: what a flush changes in Postgres would evict nothing',
      });
    }
    if (value.refresh.ahead > 0 && value.load === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['refresh', 'ahead'],
        message: `found ${value.refresh.ahead} without load, expected 0: the sidecar can only load ahead of readers what it knows how to load`,
      });
    }
    if (value.vary !== undefined && value.warm?.sql !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['warm', 'sql'],
        message: `found it beside vary, expected none: a key alone does not say whose value it is (what was read most is warmed all the same)`,
      });
    }
    const varied = new Set([...(value.vary?.headers ?? []), ...(value.vary?.identity ?? [])]);
    for (const [header, text] of headersOfLoad(value.load)) {
      if (varied.has(header)) continue;
      const message = `found {header.${header}} in ${show(text)}, expected a header that vary names (in lower case): else one caller would be answered with what was loaded for another`;
      context.addIssue({ code: 'custom', path: ['load'], message });
    }
    for (const [path, message] of contradictionsOf(value)) context.addIssue({ code: 'custom', path, message });
    for (const other of ['writeBehind'] as const) {
      if (value.vary === undefined || value[other] === undefined) continue;
      context.addIssue({
        code: 'custom',
        path: [other],
        message: `found it beside vary, expected one of the two: nobody could say for which caller's value it is meant`,
      });
    }
    const { maxItemBytes = 0 } = value;
    const room = value.l1.maxBytes - ENTRY_ROOM_BYTES;
    if (maxItemBytes > room) {
      context.addIssue({
        code: 'custom',
        path: ['maxItemBytes'],
        message: `found ${maxItemBytes} bytes, expected at most ${room} (4KiB less than l1.maxBytes): the sidecar could not hold larger values in its memory`,
      });
    }
  })
  .transform((value) => ({
    ...value,
    grace: value.onInvalidate === 'stale' ? (value.grace ?? grace.parse({})) : undefined,
    maxItemBytes: value.maxItemBytes ?? Math.min(DEFAULT_MAX_ITEM_BYTES, value.l1.maxBytes - ENTRY_ROOM_BYTES),
  }));

/** What writeThrough cannot be combined with. */
function contradictionsOf(value: {
  readonly vary?: unknown;
  readonly invalidation: string;
  readonly writeThrough?: WriteThroughConfig | undefined;
  readonly writeBehind?: unknown;
  readonly load?: readonly { readonly kind: string }[] | undefined;
}): (readonly [path: string[], message: string])[] {
  const { vary: varies, invalidation, writeThrough: through, writeBehind: behind, load: loaders } = value;
  if (through === undefined) return [];
  const found: (readonly [path: string[], message: string])[] = [];
  if (behind !== undefined)
    found.push([['writeThrough'], 'found writeThrough and writeBehind, expected one of them: a write goes one way']);
  if (invalidation === 'ttl_only')
    found.push([
      ['writeThrough'],
      'found writes with invalidation: ttl_only, expected rules: no other sidecar would hear of what is written',
    ]);
  if (through.cache === 'loaded' && through.read === undefined && !(loaders ?? []).some(({ kind }) => kind === 'sql'))
    found.push([
      ['writeThrough', 'cache'],
      'found loaded, expected writeThrough.read or load.sql beside it, which says what to read',
    ]);
  if (varies !== undefined && through.cache !== undefined && through.cache !== 'nothing')
    found.push([
      ['writeThrough', through.read === undefined ? 'cache' : 'read'],
      'found it beside vary, expected cache: nothing, which is the default there: nobody could say for which caller the written value is',
    ]);
  return found;
}
