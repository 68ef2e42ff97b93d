import { expect, test } from 'vitest';
import type { Part, PartState } from './view.ts';
import { Watcher } from './watcher.ts';

function sidecar(state: PartState, note = 'live, L2 up'): Part[] {
  return [{ name: 'sidecar-0', state, note }];
}

test('a sidecar that stalls is news once, and so is how long it took to recover', () => {
  const watcher = new Watcher(0);
  expect(watcher.parts(0, sidecar('up'))).toEqual([]);
  expect(watcher.parts(1_000, sidecar('waiting', 'stalled, L2 up'))).toEqual([
    'sidecar-0 hears nothing: it answers misses, its app reads Postgres',
  ]);
  expect(watcher.parts(1_500, sidecar('waiting', 'stalled, L2 up'))).toEqual([]);
  expect(watcher.parts(3_400, sidecar('up'))).toEqual(['sidecar-0 is back after 2.4 s']);
  expect(watcher.parts(3_500, sidecar('up'))).toEqual([]);
});

test('a part that has not been up yet is no news', () => {
  const watcher = new Watcher(0);
  expect(watcher.parts(0, sidecar('silent', ''))).toEqual([]);
  expect(watcher.parts(500, sidecar('up'))).toEqual([]);
});

test('a sidecar that was paused finds out by itself that it slept', () => {
  const watcher = new Watcher(0);
  watcher.parts(0, sidecar('up'));
  expect(watcher.parts(1_000, sidecar('paused', ''))).toEqual([]);
  expect(watcher.parts(11_000, sidecar('waiting', 'stalled, L2 up'))).toHaveLength(1);
  expect(watcher.parts(11_400, sidecar('up'))).toEqual(['sidecar-0 is back after 10.4 s']);
});

test('what was caused on purpose is told by who caused it: only the recovery is news', () => {
  const watcher = new Watcher(0);
  watcher.parts(0, [{ name: 'Kafka', state: 'up', note: '' }]);
  expect(watcher.parts(500, [{ name: 'Kafka', state: 'down', note: '' }])).toEqual([]);
  expect(watcher.parts(1_000, [{ name: 'Kafka', state: 'starting', note: '' }])).toEqual([]);
  expect(watcher.parts(8_500, [{ name: 'Kafka', state: 'up', note: '' }])).toEqual(['Kafka is back after 8.0 s']);
});

test('a sidecar that loses Redis says so while it goes on', () => {
  const watcher = new Watcher(0);
  watcher.parts(0, sidecar('up'));
  expect(watcher.parts(500, sidecar('up', 'live, L2 down'))).toEqual(['sidecar-0: live, L2 down']);
  expect(watcher.parts(900, sidecar('up', 'live, L2 up'))).toEqual(['sidecar-0: live, L2 up']);
});

test('a fall of the hit ratio and its recovery are news, once the caches are warm', () => {
  const watcher = new Watcher(0);
  expect(watcher.hitRatio(1_000, 0.2)).toEqual([]);
  expect(watcher.hitRatio(6_000, 0.95)).toEqual([]);
  expect(watcher.hitRatio(7_000, 0.9)).toEqual([]);
  expect(watcher.hitRatio(8_000, 0.6)).toEqual(['the hit ratio falls: 94.5% to 60.0%']);
  expect(watcher.hitRatio(9_000, 0.3)).toEqual([]);
  expect(watcher.hitRatio(10_000, undefined)).toEqual([]);
  expect(watcher.hitRatio(11_000, 0.93)).toEqual(['the hit ratio is back at 93.0% after 3.0 s (lowest 30.0%)']);
  expect(watcher.hitRatio(12_000, 0.93)).toEqual([]);
});
