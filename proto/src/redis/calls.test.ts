import { describe, expect, it } from 'vitest';
import { adoptCall, applyCall, beginCall, getTaggedCall, parseLogReply } from './calls.ts';
import { type LogHeader, parseHeader } from './header.ts';
import { bucketKeys } from './layout.ts';

// That the scripts do the right thing with these is shown on a real Redis (test/contract/redis-log.test.ts); here, that keys
// and arguments stand where the scripts' comments say.

const keys = bucketKeys('main', 0);
const text = '1 g1 a1 3 100 90 200 150 42 digest -';
const header = parseHeader(text) as LogHeader;
const position = { epoch: 3, to: 300, visible: 250, nextOffset: 43 };

describe('calls', () => {
  it('begin: log, fences, pairs; seen, generation, epoch, position, visible, offset, digest', () => {
    expect(beginCall(keys, { position, seen: text, generation: 'g2', digest: 'd', pairs: ['aa', 'bb'] })).toEqual({
      keys: [keys.log, keys.keyFences, keys.tagFences, keys.pair('aa'), keys.pair('bb')],
      args: [text, 'g2', 3, 300, 250, 43, 'd'],
    });
  });

  it('adopt: log, pairs; generation, adoption that was seen, new adoption, digest', () => {
    expect(adoptCall(keys, { header, adoption: 'a2', digest: 'd', pairs: ['aa'] })).toEqual({
      keys: [keys.log, keys.pair('aa')],
      args: ['g1', 'a1', 'a2', 'd'],
    });
  });

  it('apply: log, fences, pairs, an entry a key fence; the counts tell the lists apart', () => {
    const call = applyCall(keys, {
      header,
      position,
      from: 200,
      maxFences: 1000,
      after: '-',
      part: 'p1',
      pairs: [{ pair: 'aa', lsn: 0 }],
      keyFences: [
        { pair: 'aa', name: 'k1', lsn: 210 },
        { pair: 'bb', name: 'k2', lsn: 220 },
      ],
      tagFences: [{ pair: 'aa', name: 't', lsn: 230 }],
    });
    expect(call).toEqual({
      keys: [
        keys.log,
        keys.keyFences,
        keys.tagFences,
        keys.pair('aa'),
        keys.entry('g1', 'aa', 'k1'),
        keys.entry('g1', 'bb', 'k2'),
      ],
      args: ['g1', 'a1', 3, 200, 300, 250, 43, 1000, '-', 'p1', 1, 2, 0, 210, 'aa:k1', 220, 'bb:k2', 230, 'aa:t'],
    });
  });
});

describe('getTaggedCall', () => {
  it('log, tag fences, pairs, entries; how many pairs, a prefix an entry', () => {
    const entries = ['aa', 'bb', 'aa'].map((pair, i) => ({ generation: 'g1', pair, name: `k${i}` }));
    expect(getTaggedCall(keys, { pairs: ['bb', 'aa'], entries })).toEqual({
      keys: [
        ...[keys.log, keys.tagFences, keys.pair('bb'), keys.pair('aa')],
        ...[keys.entry('g1', 'aa', 'k0'), keys.entry('g1', 'bb', 'k1'), keys.entry('g1', 'aa', 'k2')],
      ],
      args: [2, 'aa:', 'bb:', 'aa:'],
    });
  });
});

describe('parseLogReply', () => {
  it('reads texts and buffers, with the header where there is one', () => {
    expect(parseLogReply(['ok', text, 2])).toEqual({ status: 'ok', text, header, deleted: 2, chunks: [] });
    expect(parseLogReply([Buffer.from('hole'), Buffer.from(text)])).toEqual({
      status: 'hole',
      text,
      header,
      deleted: 0,
      chunks: [],
    });
    const missing = { status: 'missing', text: '', header: undefined, deleted: 0, chunks: [] };
    expect(parseLogReply(['missing', null, 0])).toEqual(missing);
    expect(parseLogReply(['ok', text, 1, [Buffer.from('2:abc')]]).chunks).toEqual(['2:abc']);
  });

  it.each([null, 'ok', [], [null], ['fine', text], [1]])('refuses %j', (reply) => {
    expect(() => parseLogReply(reply)).toThrow(/to a script of the fence log/);
  });
});
