import type { V1Pod } from '@kubernetes/client-node';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFailed } from 'vitest';
import { sharedServers } from '../kit/shared.ts';
import { releaseNamespace, startWorld, type World } from './support/world.ts';

// The life of a release, as an operator lives it: each test goes on where the one before has stopped.

const schema = `
  create table products (id int primary key, name text not null, price int not null);
  insert into products select n, 'product ' || n, 10 from generate_series(1, 20) n;
`;

const products = { invalidate: [{ table: 'public.products', keys: ['{id}'] }] };

describe('a release', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld(sharedServers(), schema);
  });
  afterAll(() => world?.stop());
  beforeEach(() => {
    onTestFailed(() => void process.stderr.write(`${world?.runner.logs(25).join('\n')}\n`));
  });

  const component = (name: string): Promise<V1Pod[]> =>
    world.pods(releaseNamespace, `app.kubernetes.io/component=${name}`);

  it('is installed by helm: its pods become ready, one of them follows Postgres', async () => {
    await world.helm('install', world.values({ namespaces: { products } }));
    for (const name of ['invalidator', 'applier', 'webhook']) expect(await component(name)).toHaveLength(2);
    const slots = await world.sql('select active from pg_replication_slots where slot_name = $1', [world.slot]);
    expect(slots).toEqual([{ active: true }]);
  });
});
