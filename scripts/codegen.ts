// npm run codegen: writes the generated code and schemas again, from proto/schema/ and proto/src/config.ts.
import { readArguments } from '../test/kit/index.ts';
import { runCommand } from './lib/command.ts';
import { generate, generatedPaths, removeGenerated } from './lib/generate.ts';
import { root } from './lib/tools.ts';

await runCommand(async () => {
  const { values } = readArguments('codegen', { options: { help: { type: 'boolean', short: 'h' } } });
  if (values.help === true) {
    process.stdout.write(`Usage: npm run codegen\n\nWrites again: ${generatedPaths.join(', ')}\n`);
    return;
  }
  await removeGenerated();
  await generate(root);
  process.stdout.write(`written: ${generatedPaths.join(', ')}\n`);
});
process.disconnect?.();
