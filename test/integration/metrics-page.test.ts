import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { InjectMetrics } from '../../invalidator/src/inject/metrics.ts';
import { useStack } from './support/stack.ts';

// sidecar/docs/metrics.md lists what each process exports. `npm test -- metrics-page -u` writes its tables again.

const used = useStack({
  initSql: 'create table items (id text primary key)',
  config: {
    namespaces: {
      items: {
        source: 'main',
        invalidate: [{ table: 'public.items', keys: ['{id}'] }],
        // For there to be a flusher.
        writeBehind: { put: { sql: 'insert into items (id) values ($1)', params: ['{key}'] } },
      },
    },
  },
});

const page = fileURLToPath(new URL('../../sidecar/docs/metrics.md', import.meta.url));
const bodyOf = async (url: string): Promise<string> => (await fetch(`${url}/metrics`)).text();

/** A table of the text for Prometheus, in its order, without what every process tells of itself. */
function tableOf(text: string): string {
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]));
  const rows = [...text.matchAll(/^# HELP (\S+) (.+)$/gm)]
    .filter(([, name = '']) => !/^(tidemark_)?(process|nodejs)_/.test(name))
    .map(([, name = '', help = '']) => `| \`${name}\` | ${types.get(name)} | ${help.replaceAll('|', '\\|')} |`);
  expect(rows.length).toBeGreaterThan(3);
  return ['| metric | type | tells |', '| --- | --- | --- |', ...rows].join('\n');
}

it('the page of metrics lists all that each process exports, and nothing else', async () => {
  const { stack } = used;
  const texts = new Map([
    ['sidecar', await bodyOf(stack.sidecars[0]?.admin ?? '')],
    ['run', await bodyOf(stack.invalidator.url)],
    ['apply', await bodyOf(stack.applier.url)],
    ['flush', await bodyOf(stack.flusher.url)],
    ['inject', (await new InjectMetrics().render()).body],
  ]);
  const written = readFileSync(page, 'utf8').replaceAll(
    /(<!-- metrics: (\w+) -->\n)(?:\n(?:\|.*\n)+)?/g,
    (_all, mark: string, process: string) => `${mark}\n${tableOf(texts.get(process) ?? '')}\n`,
  );
  await expect(written).toMatchFileSnapshot(page);
});
