import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { ConfigFileError, loadConfigFile } from './config-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidemark-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function messageOf(path: string): string {
  try {
    loadConfigFile(path);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigFileError);
    return (error as Error).message;
  }
  return '';
}

it('reads a document and fills in defaults', () => {
  const path = file(
    'good.yaml',
    'sources:\n  main: { topic: t }\nnamespaces:\n  n: { source: main, invalidation: ttl_only }\n',
  );
  const config = loadConfigFile(path);
  expect(config.sources['main']?.topic).toBe('t');
  expect(config.namespaces['n']?.ttl.hard).toBe(1_800_000);
});

it('names the file, the place, what was found and what was expected, for every issue', () => {
  const path = file(
    'bad.yaml',
    'sources:\n  main: { topic: 5 }\nnamespaces:\n  n: { source: main, ttl: { hard: soon } }\n',
  );
  const lines = messageOf(path).split('\n');
  expect(lines.length).toBeGreaterThanOrEqual(2);
  for (const line of lines) expect(line.startsWith(`${path}: `)).toBe(true);
  expect(lines.join('\n')).toMatch(/sources\.main\.topic: found 5, expected/);
  expect(lines.join('\n')).toMatch(/namespaces\.n\.ttl\.hard: found "soon", expected/);
});

it('says where a document is no YAML', () => {
  expect(messageOf(file('broken.yaml', 'sources:\n  main: { topic: t\n'))).toMatch(
    /broken\.yaml: not YAML: .* line \d/,
  );
  expect(messageOf(file('twice.yaml', 'sources: {}\nsources: {}\n'))).toMatch(/twice\.yaml: not YAML: .*unique/);
});

it('says why a file cannot be read', () => {
  expect(messageOf(join(folder, 'none.yaml'))).toBe(`${join(folder, 'none.yaml')}: cannot be read (ENOENT)`);
});
