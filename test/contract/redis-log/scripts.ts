import {
  ADOPT_SCRIPT,
  APPLY_SCRIPT,
  BEGIN_SCRIPT,
  FILL_SCRIPT,
  GET_TAGGED_SCRIPT,
  PROMOTE_SCRIPT,
} from '@tidemark/proto/redis';

/** The scripts under test; a mutant replaces one of them. */
export interface Scripts {
  readonly begin: string;
  readonly adopt: string;
  readonly apply: string;
  readonly fill: string;
  readonly getTagged: string;
  readonly promote: string;
}

export const SCRIPTS: Scripts = {
  begin: BEGIN_SCRIPT,
  adopt: ADOPT_SCRIPT,
  apply: APPLY_SCRIPT,
  fill: FILL_SCRIPT,
  getTagged: GET_TAGGED_SCRIPT,
  promote: PROMOTE_SCRIPT,
};

/**
 * A check that is taken out of a script: the first history that finds it, what it is, in which script, what it was, and
 * what stands there instead.
 */
export type Mutant = readonly [seed: number, name: string, script: keyof Scripts, from: string, to: string];

/**
 * Not here, because something else would refuse as well: APPLY's look at its fences (what it would make anew has no
 * sentinel, so nothing is filled), ZADD's GT (the chain applies the newest fence of a name last), FILL's look at the
 * namespace's state and at tags (a reader looks too).
 */
export const MUTANTS: readonly Mutant[] = [
  [8, 'begin: adoptions are only counted', 'begin', 'ARGV[2]', "'1'"],
  [
    6,
    'adopt: a namespace that is new begins at zero',
    'adopt',
    'or { from = h.to, fence = 0 }',
    'or { from = 0, fence = 0 }',
  ],
  [2, 'adopt: what is not named stays known', 'adopt', 'ARGV[3]', 'h.adoption'],
  [2, 'apply: over a hole', 'apply', "if from > h.to then return { 'hole', text, 0 } end", ''],
  [58, 'apply: to any generation', 'apply', 'h.generation ~= ARGV[1] or h.adoption ~= ARGV[2] or', ''],
  [58, 'apply: under another adoption', 'apply', 'or h.adoption ~= ARGV[2]', ''],
  [365, 'apply: to another epoch', 'apply', 'or h.epoch ~= ARGV[3]', ''],
  [
    145,
    'apply: an evicted namespace begins at zero',
    'apply',
    '{ from = h.to, fence = fence }',
    '{ from = 0, fence = fence }',
  ],
  [8, 'apply: no fences on namespaces', 'apply', 'elseif fence > p.fence then', 'elseif false then'],
  [2, 'apply: nothing is deleted', 'apply', "deleted = deleted + redis.call('UNLINK', entry)", ''],
  [54, 'apply: forgets in silence', 'apply', 'h.from = trim(KEYS[2], h.from)', 'trim(KEYS[2], h.from)'],
  [29, 'apply: forgets tags in silence', 'apply', 'h.tagFrom = trim(KEYS[3], h.tagFrom)', 'trim(KEYS[3], h.tagFrom)'],
  [68, 'apply: a part that Redis lost', 'apply', 'ARGV[9] ~= h.parts', 'false'],
  [2, 'apply: a part moves the log', 'apply', "if part == '-' then h.to", 'if true then h.to'],
  [54, 'fill: before the log', 'fill', 'asof < h.from or', ''],
  [2, 'fill: over a fence on the key', 'fill', "if fence and tonumber(fence) > asof then return 'fenced' end", ''],
  [795, 'fill: without fences', 'fill', 'or not intact(KEYS[2])', ''],
  [1, 'get: over a fence on a tag', 'getTagged', 'if fence and tonumber(fence) > asof then return false end', ''],
  [29, 'get: before the log knows tags', 'getTagged', 'if asof < h.tagFrom then return false end', ''],
  [602, 'get: without fences', 'getTagged', 'h and intact(KEYS[2])', 'h'],
];
