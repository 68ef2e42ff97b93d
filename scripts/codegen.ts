// npm run codegen: writes the generated code and schemas again, from proto/schema/ and proto/src/config.ts.
import { generate, generatedPaths, removeGenerated } from './lib/generate.ts';
import { root } from './lib/tools.ts';

if (process.argv.includes('--help')) {
  process.stdout.write(`Usage: npm run codegen\n\nWrites again: ${generatedPaths.join(', ')}\n`);
} else {
  await removeGenerated();
  await generate(root);
  process.stdout.write(`written: ${generatedPaths.join(', ')}\n`);
}
process.disconnect?.();
