import { parseKeyPattern, parseTemplate } from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import { Breaker } from './breaker.ts';
import { Origins, type LoadCounts } from './load-origins.ts';
import { fill, type OriginRequest } from './origin.ts';
import type { Loaded } from './ports.ts';
import { whyForeign } from './server-identity.ts';
import { tagsOf } from './value-tags.ts';

const ABSENT: Loaded = { kind: 'absent' };

function setUp(answers: Readonly<Record<string, Loaded>>) {
  const clock = { monotonicMs: () => 0 };
  const asked: [shape: string, request: OriginRequest][] = [];
  const counts: LoadCounts = {};
  const origins = Object.entries(answers).map(([shape, answer]) => ({
    pattern: parseKeyPattern(shape),
    origin: new Breaker({
      origin: {
        load(request) {
          asked.push([shape, request]);
          return Promise.resolve(answer);
        },
      },
      clock,
      failures: 1,
      forMs: 1000,
    }),
  }));
  return { asked, counts, loader: new Origins({ origins, clock, counts, onLoad: () => undefined }) };
}

describe('of several loaders', () => {
  it('the first whose shape a key has is asked, with its parts and the headers that make a difference', async () => {
    const { asked, loader } = setUp({ 'a:{id}': ABSENT, '{x}:{y}': ABSENT });
    await loader.load({ key: 'a:1', address: 'a:1', headers: { 'x-tenant': 't' }, atLeast: 7 });
    await loader.load({ key: 'b:1', address: 'b:1', headers: {} });
    expect(asked.map(([shape, { values, atLeast }]) => [shape, Object.fromEntries(values), atLeast])).toEqual([
      ['a:{id}', { key: 'a:1', id: '1', 'header.x-tenant': 't' }, 7],
      ['{x}:{y}', { key: 'b:1', x: 'b', y: '1' }, undefined],
    ]);
  });

  it('none is for a key of another shape', async () => {
    const { asked, loader } = setUp({ 'a:{id}': ABSENT });
    expect([loader.handles('a:1'), loader.handles('a:'), loader.handles('b')]).toEqual([true, false, false]);
    expect(await loader.load({ key: 'b', address: 'b', headers: {} })).toMatchObject({ kind: 'failed', why: 'error' });
    expect(asked).toEqual([]);
  });

  it('each has a breaker of its own, and all are counted together', async () => {
    const { loader, counts } = setUp({
      'a:{id}': { kind: 'failed', why: 'unavailable', detail: '' },
      'b:{id}': ABSENT,
    });
    for (const key of ['a:1', 'a:2', 'a:3', 'b:1']) await loader.load({ key, address: key, headers: {} });
    expect(counts).toEqual({ unavailable: 1, open: 2, absent: 1 });
    expect(loader.broken).toBe(1);
  });
});

describe('the tags of a value', () => {
  const template = (text: string) => parseTemplate(text);
  const row = (id: string) => new Map([['id', id]]);

  it('are those of each row, once', () => {
    expect(tagsOf([template('u:{id}'), template('all')], [row('1'), row('2'), row('1')])).toEqual({
      ok: true,
      tags: ['u:1', 'all', 'u:2'],
    });
    expect(tagsOf([], [row('1')])).toEqual({ ok: true, tags: [] });
  });

  it('are refused where one is too long or they are too many, because a change would miss the value', () => {
    expect(tagsOf([template('{id}')], [row('é'.repeat(256))]).ok).toBe(true);
    expect(tagsOf([template('{id}')], [row('é'.repeat(257))])).toMatchObject({ ok: false });
    const rows = Array.from({ length: 65 }, (_, i) => row(`${i}`));
    expect(tagsOf([template('{id}')], rows.slice(1)).ok).toBe(true);
    expect(tagsOf([template('{id}')], rows)).toMatchObject({ ok: false });
  });
});

it('a template is filled in once: what stands in a value is no template', () => {
  const values = new Map([
    ['a', '{b}'],
    ['b', 'x'],
  ]);
  expect(fill(parseTemplate('{a}-{b}-{c}-{{'), values)).toBe('{b}-x--{');
  expect(fill(parseTemplate('{a}'), values, encodeURIComponent)).toBe('%7Bb%7D');
});

it('[I5] positions count where system and timeline are those of the stream, and nowhere as long as these are unknown', () => {
  const followed = { systemId: 1n, timeline: 1 };
  const unknown = { systemId: undefined, timeline: undefined };
  expect(whyForeign({ systemId: 1n, timeline: 1 }, followed)).toBeUndefined();
  for (const server of [{ systemId: 2n, timeline: 1 }, { systemId: 1n, timeline: 2 }, unknown])
    expect(whyForeign(server, followed)).toEqual(expect.any(String));
  for (const server of [followed, unknown]) expect(whyForeign(server, unknown)).toEqual(expect.any(String));
});
