import { onTestFinished } from 'vitest';
import { freePort, type ProcessHandle, type Stack } from '../../kit/index.ts';
import { tidemarkProcess } from '../../kit/tidemark.ts';

/** One more invalidator for a stack's source, as a second replica or under another role; it is ended with the test. */
export async function anotherInvalidator(
  stack: Stack,
  options: { readonly name: string; readonly env?: Readonly<Record<string, string>> },
): Promise<ProcessHandle & { readonly url: string }> {
  const address = `127.0.0.1:${await freePort()}`;
  const handle = await tidemarkProcess({
    role: 'invalidator',
    name: options.name,
    supervise: false,
    env: {
      TIDEMARK_CONFIG: stack.configFile,
      TIDEMARK_KAFKA_BROKERS: stack.brokers.join(','),
      TIDEMARK_POSTGRES_URL: stack.postgres,
      TIDEMARK_SLOT: stack.slot,
      TIDEMARK_PUBLICATION: stack.publication,
      TIDEMARK_HTTP_LISTEN: address,
      ...options.env,
    },
  });
  onTestFinished(() => handle.stop());
  return Object.assign(handle, { url: `http://${address}` });
}
