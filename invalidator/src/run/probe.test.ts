import { expect, it, onTestFinished } from 'vitest';
import { startDyingPostgres } from '../testing/dying-postgres.ts';
import { LastingProbe } from './probe.ts';

it('fails to open when Postgres dies meanwhile, and nothing else', async () => {
  const { connection, stop } = await startDyingPostgres();
  onTestFinished(stop);
  const probe = new LastingProbe(connection, 'mark');
  await expect(probe.open()).rejects.toThrow('Connection terminated unexpectedly');
  await probe.close();
});
