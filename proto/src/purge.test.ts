import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePurge, PURGE_LIMITS, purgeSchema } from './purge.ts';
import { utf8Length } from './utf8.ts';

const target = (more: object): object => ({ purge: [{ namespace: 'n', ...more }] });
const parse = (document: unknown) => parsePurge(JSON.stringify(document));
const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `k${i}`);

describe('parsePurge', () => {
  it('[I11] reads keys, tags, prefixes and whole namespaces', () => {
    expect(
      parse({
        purge: [
          { namespace: 'a', keys: ['1'], tags: ['t'] },
          { namespace: 'b', all: true },
          { namespace: 'c', prefixes: ['by-email:'] },
        ],
      }),
    ).toEqual({
      purge: [
        { namespace: 'a', keys: ['1'], tags: ['t'], all: false },
        { namespace: 'b', keys: [], tags: [], all: true },
        { namespace: 'c', keys: [], tags: [], prefixes: ['by-email:'], all: false },
      ],
    });
  });

  it.each<[string, unknown]>([
    ['another document', { flush: true }],
    ['no target', { purge: [] }],
    ['a target without a namespace', { purge: [{ keys: ['1'] }] }],
    ['the name of no namespace', target({ namespace: '', all: true })],
    ['a target that names nothing', target({})],
    ['a target that denies everything', target({ all: false })],
    ['a word it does not know', target({ keys: ['1'], prefix: 'x' })],
    ['an empty key', target({ keys: [''] })],
    ['an empty prefix, which is the whole namespace', target({ prefixes: [''] })],
    ['a key of another type', target({ keys: [1] })],
    ['a key that is longer than any key', target({ keys: ['€'.repeat(171)] })],
    ['a lone surrogate, which would be encoded as another text', target({ tags: ['\ud800'] })],
    [
      'too many targets',
      { purge: Array.from({ length: PURGE_LIMITS.targets + 1 }, () => ({ namespace: 'n', all: true })) },
    ],
    ['too many names in one list', target({ keys: names(PURGE_LIMITS.names + 1) })],
    ['too many names in all', target({ keys: names(PURGE_LIMITS.names), tags: ['t'] })],
    ['too many prefixes in all', target({ keys: names(PURGE_LIMITS.names), prefixes: ['p'] })],
  ])('[I11] answers "not a purge" to %s, so that the publisher purges everything', (_, document) => {
    expect(parse(document)).toBeUndefined();
  });

  it.each(['', '{', 'null', '[]', '"purge"', '{"purge":', '{"__proto__":{"purge":[]}}'])('and to %j', (text) => {
    expect(parsePurge(text)).toBeUndefined();
  });

  it('takes as many names as may be', () => {
    expect(parse(target({ keys: names(PURGE_LIMITS.names - 1), tags: ['t'] }))).toBeDefined();
  });

  it('takes the largest names', () => {
    const keys = ['x'.repeat(PURGE_LIMITS.nameBytes), '€'.repeat(170)];
    expect(parse(target({ keys }))?.purge[0]?.keys).toEqual(keys);
  });

  it('[I11] what it accepts always fits a record of 1 MiB, and reads the same when it is written again', () => {
    const name = fc.string({ maxLength: 600 });
    const document = fc.record({
      purge: fc.array(
        fc.record(
          {
            namespace: fc.string({ maxLength: 70 }),
            keys: fc.array(name, { maxLength: 4 }),
            tags: fc.array(name, { maxLength: 4 }),
            prefixes: fc.array(name, { maxLength: 4 }),
            all: fc.boolean(),
          },
          { requiredKeys: ['namespace'] },
        ),
        { maxLength: 3 },
      ),
    });
    fc.assert(
      fc.property(document, (value) => {
        const purge = parse(value);
        if (purge === undefined) return;
        expect(parsePurge(JSON.stringify(purge))).toEqual(purge);
        const all = purge.purge.flatMap(({ keys, tags, prefixes = [] }) => keys.concat(tags, prefixes));
        for (const one of all) expect(utf8Length(one)).toBeLessThanOrEqual(PURGE_LIMITS.nameBytes);
        expect(all.length * PURGE_LIMITS.nameBytes).toBeLessThan(1024 ** 2);
      }),
    );
  });

  it('says to a caller over HTTP what is wrong and where', () => {
    const result = purgeSchema.safeParse(target({ keys: ['ok', ''] }));
    expect(result.error?.issues).toMatchObject([
      { path: ['purge', 0, 'keys', 1], message: 'expected 1 to 512 bytes of UTF-8' },
    ]);
  });
});
