import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { applyConfig, environmentHelp, flushConfig, runConfig } from '../../invalidator/src/config.ts';
import { readInjectionSettings } from '../../invalidator/src/config/injection-settings.ts';
import { HELP, readConfig } from '../../sidecar/src/config.ts';
import { scratchFolder } from '../kit/index.ts';
import { type Helm, startHelm } from '../kit/kube/index.ts';
import { podOf, render, scenarios, type Rendered, type RenderedContainer } from './chart.ts';

let helm: Helm;
const scratch = scratchFolder('environment');
beforeAll(async () => {
  helm = await startHelm();
});
afterAll(async () => {
  await helm.remove();
  await scratch.remove();
});

const commands = ['run', 'apply', 'flush', 'inject', 'drop-slot', 'selftest'] as const;

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

const inSecrets: Readonly<Record<string, string>> = {
  TIDEMARK_POSTGRES_URL: 'postgres://u@h/d',
  TIDEMARK_REDIS_URL: 'redis://h:1',
  TIDEMARK_MEMCACHED_URL: 'memcached://h:1',
  TIDEMARK_KAFKA_SASL_USERNAME: 'u',
  TIDEMARK_KAFKA_SASL_PASSWORD: 'p',
};

/** What the kubelet would make of it, but for certificates, whose files are not here. */
function environmentOf({ env = [] }: RenderedContainer): Record<string, string> {
  const plain = env.filter(({ name }) => name.startsWith('TIDEMARK_') && !/_(CA|CERT|KEY)_FILE$/.test(name));
  return Object.fromEntries(plain.map(({ name, value = inSecrets[name] ?? 'from the cluster' }) => [name, value]));
}

/** Settings that the chart leaves alone, with the reason. */
const untold: Readonly<Record<string, string>> = {
  'run TIDEMARK_KUBECONFIG': 'the service account of the pod leads to the API server',
  'inject TIDEMARK_KUBECONFIG': 'likewise',
  'apply TIDEMARK_CONFIG': 'the configuration topic stands for it',
  'flush TIDEMARK_CONFIG': 'likewise',
  'sidecar TIDEMARK_CONFIG': 'likewise',
  'sidecar TIDEMARK_NAMESPACES': 'from an annotation of the pod',
  'sidecar TIDEMARK_SOCKET': 'set where the volume is',
  'sidecar TIDEMARK_KAFKA_SASL_USERNAME': 'from injection.credentialsSecret',
  'sidecar TIDEMARK_LOAD_URL': 'likewise',
  'sidecar TIDEMARK_WRITE_URL': 'likewise',
  'sidecar TIDEMARK_KAFKA_SASL_PASSWORD': 'likewise',
};

it('a setting of a process is a value of the chart, or has a reason why not', async () => {
  const renders = await Promise.all(scenarios.map(({ files }) => render(helm, files)));
  const told = new Set<string>();
  for (const objects of renders) {
    const settings = settingsOf(objects);
    if (settings !== undefined) {
      const { container } = parseYaml(settings) as { container: RenderedContainer };
      for (const { name } of container.env ?? []) told.add(`sidecar ${name}`);
    }
    for (const { args = [], env = [] } of objects.flatMap((object) => podOf(object)?.containers ?? []))
      for (const { name } of env) told.add(`${args[0]} ${name}`);
  }
  const known = [...commands.map((name) => [name, environmentHelp(name)]), ['sidecar', HELP]].flatMap(
    ([name, help = '']) => [...help.matchAll(/^ +(TIDEMARK_\w+) /gm)].map(([, variable]) => `${name} ${variable}`),
  );
  expect(known.filter((each) => !told.has(each) && untold[each] === undefined)).toEqual([]);
  expect(Object.keys(untold).filter((each) => told.has(each) || !known.includes(each))).toEqual([]);
});

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

  it('are values that the processes accept', async () => {
    const objects = await render(helm, files);
    const data = objects.find(({ metadata }) => metadata.name === 'demo-tidemark-config')?.['data'];
    const file = join(scratch.path, 'tidemark.yaml');
    writeFileSync(file, (data as Record<string, string>)['tidemark.yaml'] ?? '');
    const containers = objects.flatMap((object) => {
      const { containers: main = [], initContainers = [] } = podOf(object) ?? {};
      return [...main, ...initContainers];
    });
    for (const container of containers) {
      const env = environmentOf(container);
      if (container.name === 'invalidator') {
        expect(runConfig(env, file).election?.lease).toBe('demo-tidemark-invalidator');
      } else if (container.name === 'applier') {
        expect(() => applyConfig(env, undefined)).not.toThrow();
      } else if (container.name === 'flush') {
        expect(() => flushConfig(env, undefined)).not.toThrow();
      } else if (container.name === 'tidemark') {
        expect(() => readConfig([], env)).not.toThrow();
      }
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
