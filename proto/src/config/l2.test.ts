import { describe, expect, it } from 'vitest';
import { parseConfig } from '../config.ts';

function parsed(l2: object) {
  return parseConfig({
    sources: { main: { topic: 't' } },
    namespaces: { users: { source: 'main', invalidation: 'ttl_only', l2 } },
  });
}

describe('l2', () => {
  it.each([
    ['a switch in words', { enabled: 'yes' }, 'enabled', 'found "yes", expected true or false'],
    [
      'chunks beyond what a command should carry',
      { chunk: '16MiB' },
      'chunk',
      'found "16MiB", expected a size from 64KiB to 8MiB',
    ],
    ['chunks that are hardly any', { chunk: '63KiB' }, 'chunk', 'found "63KiB", expected a size from 64KiB to 8MiB'],
    [
      'compression of what cannot become smaller',
      { compress: { over: '255B' } },
      'compress.over',
      'found "255B", expected a size from 256B to 16MiB',
    ],
    [
      'another algorithm',
      { compress: { gzip: true } },
      'compress',
      'found unknown key gzip, expected only documented ones',
    ],
  ])('refuses %s', (_, l2, key, message) => {
    expect(parsed(l2)).toEqual({ ok: false, issues: [{ path: `namespaces.users.l2.${key}`, message }] });
  });

  it('compresses what is worth while and keeps commands small, unless it is told otherwise', () => {
    expect(parsed({})).toMatchObject({
      config: { namespaces: { users: { l2: { compress: { enabled: true, over: 4096 }, chunk: 524_288 } } } },
    });
    expect(parsed({ compress: { enabled: false }, chunk: '8MiB' })).toMatchObject({
      config: { namespaces: { users: { l2: { compress: { enabled: false, over: 4096 }, chunk: 8_388_608 } } } },
    });
  });
});
