import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, test, expect } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '@tidemark/proto';
import type { Cluster } from './cluster.ts';
import { Configuration } from './configuration.ts';
import { configurationFaults } from './faults/configuration.ts';
import type { FaultEvents } from './faults/fault.ts';
import { configOf } from './world.ts';

test('changes of several namespaces come together and go one by one, and what they do not name stays', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-configuration-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const configFile = join(folder, 'tidemark.yaml');
  const document = {
    sources: { main: {} },
    namespaces: { a: { source: 'main', ttl: 1 }, b: { source: 'main' }, c: { source: 'main' } },
  };
  const stack = { configFile, brokers: [], sidecars: [] };
  const configuration = new Configuration({ stack, topic: 'config', document });
  const namespaces = async (): Promise<unknown> =>
    (parse(await readFile(configFile, 'utf8')) as { namespaces: unknown }).namespaces;
  const { a, b, c } = document.namespaces;

  await Promise.all([configuration.change('a', { ttl: 2, l1: {} }), configuration.remove('b')]);
  expect(await namespaces()).toEqual({ a: { source: 'main', ttl: 2, l1: {} }, c });
  await configuration.restore('a');
  expect(await namespaces()).toEqual({ a, c });
  await configuration.restore('b');
  expect(parse(await readFile(configFile, 'utf8'))).toEqual({ ...document, namespaces: { a, b, c } });
  expect(await readdir(folder)).toEqual(['tidemark.yaml']);
});

const changes = configurationFaults.filter(({ name }) => name !== 'config-topic');

test.each(changes.flatMap((kind) => kind.targets.map((target) => ({ name: kind.name, target, kind }))))(
  'a document that $name makes of $target is one that everybody takes',
  async ({ target, kind }) => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-configuration-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const stack = { configFile: join(folder, 'tidemark.yaml'), brokers: [], sidecars: [] };
    const document = configOf({ wrongRule: false });
    const configuration = new Configuration({ stack, topic: 'config', document });
    await kind.start({ configuration } as unknown as Cluster, target, {} as FaultEvents);
    const changed: unknown = parse(await readFile(stack.configFile, 'utf8'));
    expect(changed).not.toEqual(document);
    expect(parseConfig(changed)).toMatchObject({ ok: true });
  },
);
