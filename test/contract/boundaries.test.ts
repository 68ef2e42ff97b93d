import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Scratch, scratchFolder } from '../kit/index.ts';

// The arrows of ARCHITECTURE.md: one violation of each is planted in a copy of the lint configuration's world, and the
// linter must refuse exactly those.

interface Plant {
  readonly file: string;
  readonly code: string;
}

const imported = (specifier: string): string => `import { thing } from '${specifier}';\nexport const used = thing;\n`;

const refused: readonly (Plant & { readonly because: string })[] = [
  { file: 'proto/src/a.ts', code: imported('@tidemark/sidecar'), because: 'proto is pure' },
  { file: 'proto/src/b.ts', code: imported('@tidemark/invalidator'), because: 'proto is pure' },
  { file: 'proto/src/c.ts', code: imported('@tidemark/runtime'), because: 'proto is pure' },
  { file: 'proto/src/d.ts', code: imported('node:fs'), because: 'proto is pure' },
  { file: 'proto/src/e.ts', code: imported('../runtime/src/x.ts'), because: 'proto imports neither' },
  { file: 'proto/src/deep/f.ts', code: imported('../../../sidecar/src/x.ts'), because: 'proto imports neither' },
  { file: 'proto/src/g.ts', code: 'export const now = Date.now();\n', because: 'proto has no clock' },
  { file: 'proto/src/h.ts', code: 'export const chance = Math.random();\n', because: 'proto has no randomness' },
  { file: 'proto/src/i.ts', code: 'setTimeout(() => undefined, 1);\n', because: 'proto has no clock' },
  { file: 'proto/runtime/src/a.ts', code: imported('@tidemark/sidecar'), because: 'the runtime imports only' },
  { file: 'proto/runtime/src/b.ts', code: imported('../../src/lsn.ts'), because: 'the runtime imports only' },
  { file: 'sidecar/src/a.ts', code: imported('@tidemark/invalidator'), because: 'the services never import' },
  { file: 'sidecar/src/b.ts', code: imported('../../invalidator/src/x.ts'), because: 'the services never import' },
  { file: 'sidecar/src/c.ts', code: imported('@tidemark/test/kit'), because: 'nothing imports test/' },
  { file: 'sidecar/src/d.ts', code: imported('../../test/kit/index.ts'), because: 'nothing imports test/' },
  { file: 'invalidator/src/a.ts', code: imported('@tidemark/sidecar'), because: 'the services never import' },
  { file: 'invalidator/src/b.ts', code: imported('../../proto/src/lsn.ts'), because: 'the services never import' },
  { file: 'invalidator/src/http/a.ts', code: imported('../adapters/x.ts'), because: 'they know no adapter' },
  { file: 'sidecar/src/core/a.ts', code: imported('../adapters/x.ts'), because: 'core imports nothing around it' },
  { file: 'sidecar/src/core/b.ts', code: imported('../config.ts'), because: 'core imports nothing around it' },
  { file: 'sidecar/src/core/c.ts', code: imported('node:crypto'), because: 'core decides and does nothing' },
  { file: 'sidecar/src/core/d.ts', code: imported('ioredis'), because: 'core decides and does nothing' },
  { file: 'sidecar/src/core/e.ts', code: imported('@tidemark/runtime'), because: 'core decides and does nothing' },
  {
    file: 'sidecar/src/core/f.ts',
    code: imported('@kubernetes/client-node'),
    because: 'core decides and does nothing',
  },
  { file: 'sidecar/src/core/g.ts', code: 'setInterval(() => undefined, 1);\n', because: 'core has no clock' },
  { file: 'sidecar/src/core/h.ts', code: 'export const now = Date.now();\n', because: 'core has no clock' },
  {
    file: 'invalidator/src/core/deep/a.ts',
    code: imported('../../adapters/x.ts'),
    because: 'core imports nothing around',
  },
  { file: 'invalidator/src/core/i.test.ts', code: imported('../../../test/kit/index.ts'), because: 'nothing of test/' },
  { file: 'sidecar/src/adapters/a.ts', code: imported('./other.ts'), because: 'adapters do not import one another' },
  {
    file: 'sidecar/src/adapters/big/b.ts',
    code: imported('../other.ts'),
    because: 'adapters do not import one another',
  },
  { file: 'sidecar/src/adapters/c.ts', code: imported('@tidemark/invalidator'), because: 'the services never import' },
];

const allowed: readonly Plant[] = [
  {
    file: 'proto/src/ok.ts',
    code: imported('./lsn.ts') + imported('zod').replaceAll('thing', 'z').replace('used', 'also'),
  },
  { file: 'proto/src/deep/ok.ts', code: imported('../lsn.ts') },
  { file: 'proto/src/ok.test.ts', code: imported('node:fs') },
  { file: 'proto/runtime/src/ok.ts', code: imported('@tidemark/proto') },
  { file: 'sidecar/src/ok.ts', code: imported('./adapters/x.ts') },
  { file: 'sidecar/src/core/ok.ts', code: imported('@tidemark/proto/redis') },
  { file: 'sidecar/src/core/deep/ok.ts', code: imported('../ports.ts') },
  { file: 'sidecar/src/core/ok.test.ts', code: imported('fast-check') },
  { file: 'sidecar/src/adapters/ok.ts', code: imported('../core/ports.ts') },
  { file: 'sidecar/src/adapters/ok.test.ts', code: imported('./ok.ts') },
  { file: 'sidecar/src/adapters/big/ok.ts', code: imported('./part.ts') },
  { file: 'invalidator/src/http/ok.ts', code: imported('../core/ports.ts') },
];

const root = fileURLToPath(new URL('../..', import.meta.url));
let world: Scratch;
const found = new Map<string, string>();

beforeAll(() => {
  world = scratchFolder('lint');
  // The boundaries need no types, and the planted imports lead nowhere.
  const config = readFileSync(join(root, '.oxlintrc.json'), 'utf8').replace('"typeAware": true', '"typeAware": false');
  writeFileSync(join(world.path, '.oxlintrc.json'), config);
  for (const { file, code } of [...refused, ...allowed]) {
    mkdirSync(dirname(join(world.path, file)), { recursive: true });
    writeFileSync(join(world.path, file), code);
  }
  const oxlint = join(root, 'node_modules/.bin/oxlint');
  const run = spawnSync(oxlint, ['--format', 'json'], { cwd: world.path, encoding: 'utf8', timeout: 300_000 });
  const report = JSON.parse(run.stdout) as {
    diagnostics: { code: string; filename: string; message: string; help: string }[];
  };
  for (const { code, filename, message, help } of report.diagnostics) {
    if (code.includes('no-restricted-')) found.set(filename, `${found.get(filename) ?? ''}${message} ${help}\n`);
  }
});

afterAll(() => world.remove());

test.for(refused)('$file is refused: $because', ({ file, because }) => {
  expect(found.get(file)).toContain(because);
});

test.for(allowed)('$file is allowed', ({ file }) => {
  expect(found.get(file)).toBeUndefined();
});
