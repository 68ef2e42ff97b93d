import {
  ADOPT_SCRIPT,
  adoptCall,
  APPLY_SCRIPT,
  applyCall,
  BEGIN_SCRIPT,
  beginCall,
  bucketKeys,
  chunkKeys,
  parseHeader,
  parseLogReply,
  RAISE_SCRIPT,
  raiseCall,
  type LogReply,
  type ScriptCall,
} from '@tidemark/proto/redis';
import { redisScript, type RedisClient, type RedisScript } from '@tidemark/runtime';
import type { AppliedSet } from '../core/applier-groups.ts';
import type { FenceLogs } from '../core/applier-loop.ts';
import type { RaisingLogs } from '../core/replay/raiser.ts';

/** So many chunks are removed by one command. */
const MAX_REMOVED = 512;

/** The fence logs of a source in Redis, by the scripts of the protocol. */
export function openFenceLogs(
  redis: RedisClient,
  options: { readonly source: string; readonly buckets: number; readonly maxFences: number },
): FenceLogs & RaisingLogs {
  const { source, buckets, maxFences } = options;
  const keys = Array.from({ length: buckets }, (_, bucket) => bucketKeys(source, bucket));
  const scripts = {
    begin: redisScript(BEGIN_SCRIPT),
    adopt: redisScript(ADOPT_SCRIPT),
    apply: redisScript(APPLY_SCRIPT),
    raise: redisScript(RAISE_SCRIPT),
  };
  const of = (bucket: number): (typeof keys)[number] => keys[bucket] as (typeof keys)[number];
  const run = async (script: RedisScript, call: ScriptCall): Promise<LogReply> =>
    parseLogReply(await redis.script(script, call.keys, call.args));
  /** Of large entries that were deleted, and thus of nobody any more. Nobody waits for it: what stays ends with its TTL. */
  const removeChunks = (bucket: number, { chunks }: LogReply): void => {
    const names = chunks.flatMap((gone) => chunkKeys(of(bucket), gone));
    for (let at = 0; at < names.length; at += MAX_REMOVED)
      redis.command('UNLINK', ...names.slice(at, at + MAX_REMOVED)).catch(() => undefined);
  };
  const runAndRemove = async (bucket: number, script: RedisScript, call: ScriptCall): Promise<LogReply> => {
    const reply = await run(script, call);
    removeChunks(bucket, reply);
    return reply;
  };
  return {
    buckets,
    async read(bucket) {
      const found = (await redis.command('GET', of(bucket).log)) as Buffer | null;
      const text = found?.toString() ?? '';
      return { status: found === null ? 'missing' : 'ok', text, header: parseHeader(text), deleted: 0, chunks: [] };
    },
    begin: (bucket, { applied, ...rest }) =>
      run(scripts.begin, beginCall(of(bucket), { ...rest, ...namesOf(applied) })),
    adopt: (bucket, { applied, ...rest }) =>
      run(scripts.adopt, adoptCall(of(bucket), { ...rest, ...namesOf(applied) })),
    apply: (bucket, part) => runAndRemove(bucket, scripts.apply, applyCall(of(bucket), { ...part, maxFences })),
    raise: (bucket, fences) => runAndRemove(bucket, scripts.raise, raiseCall(of(bucket), { ...fences, maxFences })),
  };
}

function namesOf({ namespaces, digest }: AppliedSet): { readonly digest: string; readonly pairs: readonly string[] } {
  return { digest, pairs: namespaces.map(({ hashHex }) => hashHex) };
}
