import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { testCore } from '../testing/core.ts';
import { HandLoader } from '../testing/hand-loader.ts';
import { watchStampedes } from './stampedes.ts';

it('loads that wait until readers of the database see a change are counted, and those for which that takes too long', async () => {
  const core = testCore({ loaders: { user: new HandLoader() } });
  const registry = new Registry();
  watchStampedes(registry, core);
  const counted = async (): Promise<readonly unknown[]> =>
    ((await registry.metrics()).match(/^tidemark_(?:unsettled|waiting)_loads\S* \S+$/gm) ?? []).map((line) =>
      line.slice(9),
    );
  core.stream.say({ users: ['1', '2'], visible: core.stream.to });
  core.get('user', '1');
  expect(await counted()).toEqual([
    'unsettled_loads_total{result="waited"} 1',
    'unsettled_loads_total{result="gave_up"} 0',
    'waiting_loads 1',
  ]);
  core.clock.advance(1);
  core.stream.say();
  core.stream.say({ users: ['1'], visible: core.stream.to });
  core.get('list', '3');
  core.get('user', '2');
  core.clock.advance(2_000);
  expect(await counted()).toEqual([
    'unsettled_loads_total{result="waited"} 2',
    'unsettled_loads_total{result="gave_up"} 1',
    'waiting_loads 0',
  ]);
});
