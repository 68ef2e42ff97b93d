import { encodeBatch, rulesOfSource } from '@tidemark/proto';
import { RAISE_SCRIPT, type LogReply } from '@tidemark/proto/redis';
import { redisScript, type RedisClient } from '@tidemark/runtime';
import { openFenceLogs } from '../../../invalidator/src/adapters/redis-log.ts';
import { Replay } from '../../../invalidator/src/core/replay/engine.ts';
import { Raiser, RewoundError } from '../../../invalidator/src/core/replay/raiser.ts';
import type { LogRedis } from './log-redis.ts';
import type { Random } from './random.ts';
import { clientOn } from './real-applier.ts';
import { documentWith, wireBatch, type Source } from './source.ts';
import type { WorldApplier } from './world.ts';

export interface ReplayerOptions {
  readonly redis: LogRedis;
  readonly source: Source;
  readonly random: Random;
  /** Called before each call to Redis. */
  readonly before: () => Promise<void>;
  /** Names of a namespace beyond which it is fenced as a whole; random if not given. */
  readonly maxNames?: number;
  /** What is taken out of the script: what it was, and what stands there instead. */
  readonly mutation?: readonly [from: string, to: string];
}

/** The replay of the product into the fence log, from any place on, again and again, left in the middle now and then. */
export class Replayer implements WorldApplier {
  readonly #options: ReplayerOptions;
  #running: { readonly raiser: Raiser; readonly replay: Replay; next: number } | undefined;
  seen = '';
  deleted = 0;
  rewound = 0;

  constructor(options: ReplayerOptions) {
    this.#options = options;
  }

  /** Replays some records and flushes. */
  async act(): Promise<string> {
    const { source, random } = this.#options;
    if (this.#running === undefined || random.below(10) === 0)
      this.begin(source.earliest + random.below(source.batches.length - source.earliest));
    return this.go(1 + random.below(4));
  }

  begin(offset: number): void {
    const { redis, random, before, maxNames = 1 + random.below(5), mutation } = this.#options;
    const rules = rulesOfSource(documentWith(['a', 'b', 'c']), 'main');
    const raiser = new Raiser({
      rules,
      logs: openFenceLogs(mutation === undefined ? clientOn(redis) : mutated(clientOn(redis), mutation), {
        source: 'main',
        buckets: 1,
        maxFences: 3,
      }),
      persist: async (call) => {
        await before();
        // A call may be done although its answer was lost, and is then done again.
        if (random.below(10) === 0) await call();
        const reply: LogReply = await call();
        this.seen = reply.text;
        return reply;
      },
      maxNames,
      maxFencesPerCall: 1 + random.below(2),
    });
    const range = { from: { kind: 'any' }, to: { kind: 'open' } } as const;
    this.#running = { raiser, replay: new Replay({ rules, range, output: raiser }), next: offset };
  }

  async go(count: number): Promise<string> {
    const running = this.#running;
    if (running === undefined) return 'nothing';
    const { batches } = this.#options.source;
    const first = running.next;
    running.next = Math.min(first + count, batches.length);
    for (const [i, batch] of batches.slice(first, running.next).entries())
      running.replay.take({ offset: first + i, timestampMs: 0, value: encodeBatch(wireBatch(batch)) });
    const before = running.raiser.deleted;
    try {
      await running.raiser.flush();
    } catch (error) {
      if (!(error instanceof RewoundError)) throw error;
      this.rewound += 1;
      this.#running = undefined;
      return `${first}: Redis went back`;
    }
    this.deleted += running.raiser.deleted - before;
    return `${first} to ${running.next}`;
  }
}

function mutated(client: RedisClient, [from, to]: readonly [string, string]): RedisClient {
  if (!RAISE_SCRIPT.includes(from)) throw new Error(`the script has no ${from}`);
  return {
    ...client,
    script: (script, keys, args) =>
      client.script(
        script.source === RAISE_SCRIPT ? redisScript(script.source.replaceAll(from, to)) : script,
        keys,
        args,
      ),
  };
}
