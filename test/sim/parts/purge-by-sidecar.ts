import { Purger } from '../../../sidecar/src/core/purger.ts';
import type { WalRecord } from './postgres.ts';
import type { World } from './world.ts';

/** DELETE at a sidecar: the answer comes when the purge has come back there. */
export function purgeBySidecar(world: World): void {
  const sidecar = world.dice.pick(world.sidecars);
  const invalidator = world.dice.pick(world.invalidators);
  const channel = world.network.open(sidecar.clock);
  const purge = world.purge();
  let record: WalRecord | undefined;
  const purger = new Purger({
    watermark: sidecar.watermark,
    waitMs: 2_000,
    client: {
      purge: async ({ purge: targets }) => {
        try {
          record = await channel.call(() => invalidator.emitPurge(targets));
          return { lsn: record.end };
        } catch (error) {
          return { failed: String(error) };
        } finally {
          world.network.close(channel);
        }
      },
    },
  });
  void purger
    .purge({
      purge: [{ ...purge, keys: [...purge.keys], tags: [...purge.tags], prefixes: [...(purge.prefixes ?? [])] }],
    })
    .then(({ ok }) => {
      if (ok && record !== undefined) world.oracle.acknowledged(record);
    });
}
