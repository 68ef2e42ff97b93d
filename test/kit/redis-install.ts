import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { chmod, cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, cacheFolder } from './cache.ts';
import { KitError, type Progress } from './error.ts';
import { type Artifact, hasMaven, javaVersion, mavenFiles } from './maven.ts';
import { valkeyCommand } from './valkey-install.ts';

const flavours = ['usual', 'redis-6.2', 'valkey'] as const;
/** `usual`: whichever is in PATH, else Redis 6.2. The others are what they say, wherever they come from. */
export type RedisFlavour = (typeof flavours)[number];

/** What tests start that do not ask for one: TIDEMARK_TEST_REDIS_FLAVOUR, else the usual one. */
export function usualFlavour(): RedisFlavour {
  const named = process.env['TIDEMARK_TEST_REDIS_FLAVOUR'] ?? 'usual';
  const flavour = flavours.find((each) => each === named);
  if (flavour !== undefined) return flavour;
  throw new KitError(`TIDEMARK_TEST_REDIS_FLAVOUR: found "${named}", expected one of ${flavours.join(', ')}.`);
}

const embeddedRedis: Artifact = 'com.github.codemonstur:embedded-redis:1.4.3';
const platform = process.platform === 'darwin' ? 'darwin' : 'linux';
const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
const entry = `redis-6.2-${platform}-${architecture}`;

function runs(command: string): boolean {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

/**
 * redis-server from PATH, else the binary (6.2) inside a Maven artifact: it needs no rights, and unlike a package of the
 * system it leaves no service running. Nothing where neither can be had.
 */
export async function redisCommand(
  progress: Progress,
  flavour: RedisFlavour = usualFlavour(),
): Promise<string | undefined> {
  if (flavour === 'valkey') return valkeyCommand(progress);
  const inPath = flavour === 'usual' ? ['redis-server', 'valkey-server'] : [];
  for (const command of inPath) if (runs(command)) return command;
  if (!existsSync(join(cacheFolder(), entry)) && (javaVersion() === undefined || !hasMaven())) return undefined;
  const command = join(await cached(entry, (draft) => fetchRedis(draft, progress)), 'redis-server');
  return runs(command) ? command : undefined;
}

async function fetchRedis(draft: string, progress: Progress): Promise<void> {
  progress('fetching Redis with Maven (once)');
  await mavenFiles(draft, embeddedRedis, `redis-server-6*-${platform}-${architecture}`);
  const files = join(draft, 'files');
  const file = readdirSync(files).find((name) => name.startsWith('redis-server'));
  if (file === undefined) {
    throw new KitError(
      `Maven's ${embeddedRedis} has no Redis for ${platform} ${architecture}: install redis-server, or set TIDEMARK_TEST_REDIS_URL.`,
    );
  }
  await cp(join(files, file), join(draft, 'redis-server'));
  await chmod(join(draft, 'redis-server'), 0o755);
  await rm(files, { recursive: true });
}
