import type { CompiledRules } from '@tidemark/proto';
import type { Logger } from '@tidemark/runtime';
import type { Kafka } from 'kafkajs';
import type { ClientConfig } from 'pg';
import type { RunConfig } from '../config.ts';
import type { RunMetrics } from './metrics.ts';
import type { Followed } from './position.ts';
import type { State } from './state.ts';

/** What every part of `run` works with. */
export interface RunContext {
  readonly config: RunConfig;
  readonly rules: CompiledRules;
  readonly kafka: Kafka;
  /** How to connect to Postgres; commands may take as long as they like (replication, making a slot). */
  readonly connection: ClientConfig;
  /** The same for queries, which have a deadline. */
  readonly querying: ClientConfig;
  readonly logger: Logger;
  readonly metrics: RunMetrics;
  readonly setState: (state: State, detail: string) => void;
  /** Told which stream is followed now. */
  readonly setFollowed: (followed: Followed) => void;
}
