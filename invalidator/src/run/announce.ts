import { encodeBatch } from '@tidemark/proto';
import type { RecordLog } from '../adapters/kafka-log.ts';
import type { Beginning } from './beginning.ts';
import type { RunContext } from './context.ts';
import type { CoverageWatch } from './coverage-watch.ts';

/** Sidecars learn of a new epoch at once, not when something happens. */
export async function announceEpoch(options: {
  context: RunContext;
  beginning: Beginning;
  log: RecordLog;
  coverage: CoverageWatch;
}): Promise<void> {
  const { context, beginning, log, coverage } = options;
  const { epoch, systemId, timeline, from, visible } = beginning;
  await log.append(
    encodeBatch({
      source: context.config.source,
      epoch,
      systemId,
      timeline,
      from,
      to: from,
      visible,
      committedAtUs: 0,
      publishedAtUs: Date.now() * 1000,
      heartbeat: true,
      covers: coverage.coversAt(from),
      catalog: coverage.digests,
      commits: [],
      tables: [],
      purges: [],
    }),
  );
}
