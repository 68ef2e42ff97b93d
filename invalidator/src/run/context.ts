import type { Logger } from '@tidemark/runtime';
import type { Kafka } from 'kafkajs';
import type { ClientConfig } from 'pg';
import type { RunConfig } from '../config.ts';
import type { Leadership } from '../core/leader-loop.ts';
import type { RunMetrics } from './metrics.ts';
import type { Followed } from '../core/position.ts';
import type { State } from './state.ts';

/** What every part of `run` works with. */
export interface RunContext {
  readonly config: RunConfig;
  readonly kafka: Kafka;
  /** How to connect to Postgres; commands may take as long as they like (replication, making a slot). */
  readonly connection: ClientConfig;
  /** The same for queries, which have a deadline. */
  readonly querying: ClientConfig;
  readonly logger: Logger;
  readonly metrics: RunMetrics;
  /** Whose turn it is to work; {@link SOLE} without an election. A context serves one term. */
  readonly leadership: Leadership;
  readonly setState: (state: State, detail: string) => void;
  /** Told which stream is followed now. */
  readonly setFollowed: (followed: Followed) => void;
}

/** Without an election whoever runs leads, and Postgres alone sees to it that one works at a time. */
export const SOLE: Leadership = { term: 0, isSure: () => true };
