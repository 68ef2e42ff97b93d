import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { cacheNamespaceCrd } from '../../proto/src/cache-namespace.ts';
import { configJsonSchema } from '../../proto/src/index.ts';
import { chartSchema } from './chart-schema.ts';
import { readChartValues, withValuesTable } from './chart-values.ts';
import { root, runTool } from './tools.ts';

/** Folders and files that hold nothing but generated text, from the root. */
export const generatedPaths = [
  'proto/src/gen',
  'proto/schema/config.schema.json',
  'charts/tidemark/files/crds/cachenamespaces.yaml',
  'charts/tidemark/values.schema.json',
  'charts/tidemark/README.md',
] as const;
/** Written by hand, but for a table. */
const partlyGenerated = 'charts/tidemark/README.md';

/** Writes everything that is generated below `target`, under the same paths as below the root. */
export async function generate(target: string): Promise<void> {
  const buf = await runTool('buf', ['generate', '--output', join(target, 'proto')], join(root, 'proto'));
  if (buf.code !== 0) throw new Error(`buf generate failed:\n${buf.output}`);
  await write(join(target, generatedPaths[1]), `${JSON.stringify(configJsonSchema(), undefined, 2)}\n`);
  const crd = stringify(cacheNamespaceCrd(), { lineWidth: 0 });
  await write(
    join(target, generatedPaths[2]),
    `# Generated from proto/src/cache-namespace.ts: npm run codegen\n${crd}`,
  );
  const values = await readChartValues();
  await write(join(target, generatedPaths[3]), `${JSON.stringify(chartSchema(values), undefined, 2)}\n`);
  const readme = await readFile(join(root, partlyGenerated), 'utf8');
  await write(join(target, partlyGenerated), withValuesTable(readme, values));
}

async function write(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}

/** Empties the generated folders, so that what is no longer generated goes. */
export async function removeGenerated(): Promise<void> {
  const whole = generatedPaths.filter((path) => path !== partlyGenerated);
  await Promise.all(whole.map((path) => rm(join(root, path), { recursive: true, force: true })));
}

/** The generated files below a folder: path from it, and text. */
export async function readGenerated(folder: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const visit = async (path: string): Promise<void> => {
    const entries = await readdir(join(folder, path), { withFileTypes: true }).catch(() => undefined);
    if (entries === undefined) {
      const text = await readFile(join(folder, path), 'utf8').catch(() => undefined);
      if (text !== undefined) files.set(path, text);
      return;
    }
    for (const entry of entries) await visit(join(path, entry.name));
  };
  for (const path of generatedPaths) await visit(path);
  return files;
}
