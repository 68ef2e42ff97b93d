import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { environmentHelp } from '../../invalidator/src/config.ts';
import { readInjectionSettings } from '../../invalidator/src/inject/settings-file.ts';
import { HELP } from '../../sidecar/src/config.ts';
import { scratchFolder } from '../kit/index.ts';
import { type Helm, startHelm } from '../kit/kube/index.ts';
import { podOf, render, scenarios, type Rendered, type RenderedContainer } from './chart.ts';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

let helm: Helm;
const scratch = scratchFolder('environment');
beforeAll(async () => {
  helm = await startHelm();
});
afterAll(async () => {
  await helm.remove();
  await scratch.remove();
});

const commands = ['run', 'apply', 'inject', 'drop-slot', 'selftest'] as const;

/** What the process of a container says that it reads. */
function readBy({ command = [], args = [] }: RenderedContainer): string {
  if (command.at(-1) === '/app/sidecar/main.js') return HELP;
  expect(command).toEqual(['node', '/app/invalidator/main.js']);
  const name = commands.find((each) => each === args[0]);
  if (name === undefined) throw new Error(`found ${args.join(' ')}, expected one of ${commands.join(', ')}`);
  return environmentHelp(name);
}

function settingsOf(objects: readonly Rendered[]): string | undefined {
  const found = objects.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name.endsWith('-injection'));
  return (found?.['data'] as Record<string, string> | undefined)?.['injection.yaml'];
}

describe.each(scenarios)('values $name', ({ files }) => {
  it('name only variables that the process of the container reads, each once', async () => {
    const objects = await render(helm, files);
    const settings = settingsOf(objects);
    const injected =
      settings === undefined ? [] : [(parseYaml(settings) as { container: RenderedContainer }).container];
    const containers = objects.flatMap((object) => {
      const { containers: main = [], initContainers = [] } = podOf(object) ?? {};
      return [...main, ...initContainers];
    });
    expect(containers.length).toBeGreaterThan(0);
    for (const container of [...containers, ...injected]) {
      const names = (container.env ?? []).map(({ name }) => name);
      expect(new Set(names).size, container.name).toBe(names.length);
      const help = readBy(container);
      for (const name of names.filter((each) => each.startsWith('TIDEMARK_')))
        expect(help, `${container.name}: ${name}`).toMatch(new RegExp(`^ +${name} `, 'm'));
    }
  });

  it('mount what the containers name, and nothing that is not there', async () => {
    for (const object of await render(helm, files)) {
      const pod = podOf(object);
      if (pod === undefined) continue;
      const volumes = (pod.volumes ?? []).map(({ name }) => name);
      for (const { name, env = [], volumeMounts = [] } of [...pod.containers, ...(pod.initContainers ?? [])]) {
        for (const mount of volumeMounts) expect(volumes, `${object.metadata.name}/${name}`).toContain(mount.name);
        const paths = env.flatMap(({ value = '' }) => (value.startsWith('/etc/') ? [value] : []));
        for (const path of paths)
          expect(
            volumeMounts.some(({ mountPath }) => path.startsWith(`${mountPath}/`)),
            `${name}: ${path}`,
          ).toBe(true);
      }
    }
  });

  it('give settings of injection that the webhook accepts', async () => {
    const settings = settingsOf(await render(helm, files));
    if (settings === undefined) return;
    const file = join(scratch.path, 'injection.yaml');
    writeFileSync(file, settings);
    const read = readInjectionSettings(file);
    expect(read.excludedNamespaces).toEqual(expect.arrayContaining(['caches', 'kube-system']));
    const volumes = read.volumes.map(({ name }) => name);
    for (const { name } of read.container.volumeMounts ?? []) expect(volumes).toContain(name);
  });
});
