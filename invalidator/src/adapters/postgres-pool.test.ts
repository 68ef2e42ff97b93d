import { expect, it, onTestFinished } from 'vitest';
import { startDyingPostgres } from '../testing/dying-postgres.ts';
import { openRequestPool } from './postgres-pool.ts';

it('fails the request under way when Postgres dies, and nothing else', async () => {
  const { connection, stop } = await startDyingPostgres();
  onTestFinished(stop);
  const pool = openRequestPool(connection);
  await expect(pool.use(async () => 'done')).rejects.toThrow('Connection terminated unexpectedly');
  await pool.close();
});
