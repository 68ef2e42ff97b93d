import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cached } from '../../kit/cache.ts';
import { javaCommand, mavenJars } from '../../kit/maven.ts';

/** The newest simulator that runs on Java 17 (3.2.1 and later do not), with the newest Caffeine. */
export const VERSIONS = { simulator: '3.2.0', caffeine: '3.2.4' } as const;

/** What our policies are compared with, by the simulator's names. */
export const PEERS = [
  'product.Caffeine',
  'sketch.WindowTinyLfu',
  'two-queue.S3Fifo',
  'linked.Lru',
  'linked.Fifo',
  'sampled.Random',
  'opt.Clairvoyant',
] as const;
export type Peer = (typeof PEERS)[number];

/** Hit ratios in percent. */
export type Figures = Readonly<Record<Peer, number>>;

/** Reports tell the variant too, such as `sketch.WindowTinyLfu (1%)`. */
const REPORTED: Readonly<Record<string, Peer>> = { 'sampled.sampled.Random': 'sampled.Random' };

/** Puts the simulator into the cache, and answers with its class path. */
export async function installSimulator(): Promise<string> {
  const folder = await cached(`caffeine-simulator-${VERSIONS.simulator}-${VERSIONS.caffeine}`, (draft) =>
    mavenJars(
      draft,
      [
        `com.github.ben-manes.caffeine:simulator:${VERSIONS.simulator}`,
        `com.github.ben-manes.caffeine:caffeine:${VERSIONS.caffeine}`,
      ],
      // Ehcache's way to it leads to repositories that Maven refuses, and no policy that is asked for needs it.
      { without: ['org.glassfish.jaxb:*'] },
    ),
  );
  return join(folder, 'libs', '*');
}

/** Hit ratios of every peer on a trace, in the LIRS format, with room for so many entries. */
export function simulate(classPath: string, trace: string, maxEntries: number): Figures {
  const settings: Record<string, string> = {
    'report.format': 'csv',
    'maximum-size': String(maxEntries),
    'files.paths.0': `lirs:${trace}`,
    'admission.0': 'Always',
  };
  PEERS.forEach((peer, i) => (settings[`policies.${i}`] = peer));
  const report = java(classPath, 'Simulator', { settings });
  const figures = new Map<Peer, number>();
  for (const line of report.split('\n')) {
    const [name = '', percent] = line.split(',');
    const plain = name.replace(/ \(.*$/, '');
    const peer = REPORTED[plain] ?? PEERS.find((each) => each === plain);
    if (peer !== undefined) figures.set(peer, Number(percent));
  }
  const missing = PEERS.filter((peer) => !figures.has(peer));
  if (missing.length > 0) throw new Error(`the simulator said nothing of ${missing.join(', ')}:\n${report}`);
  return Object.fromEntries(figures) as Figures;
}

/**
 * A trace that was recorded somewhere and comes with the simulator, as numbers.
 * @param options.folder where it may write
 * @param options.most so many requests of it
 */
export function recordedTrace(
  classPath: string,
  name: string,
  { folder, most }: { folder: string; most: number },
): readonly number[] {
  const [format = '', file = ''] = name.split(':');
  const written = join(folder, file);
  const from = [`--inputFormat=${format.toUpperCase()}`, `--inputFiles=${file}`];
  java(classPath, 'parser.Rewriter', { args: [...from, '--outputFormat=LIRS', `--outputFile=${written}`] });
  // Keys may be any 64 bits; only which are the same matters.
  const numbers = new Map<string, number>();
  return readFileSync(written, 'utf8')
    .split('\n', most)
    .filter((line) => line !== '')
    .map((line) => {
      const number = numbers.get(line) ?? numbers.size;
      numbers.set(line, number);
      return number;
    });
}

function java(
  classPath: string,
  main: string,
  { settings = {}, args = [] }: { settings?: Readonly<Record<string, string>>; args?: readonly string[] },
): string {
  const given = Object.entries(settings).map(([name, value]) => `-Dcaffeine.simulator.${name}=${value}`);
  const { status, stdout, stderr } = spawnSync(
    javaCommand(),
    [...given, '-Xmx1g', '-cp', classPath, `com.github.benmanes.caffeine.cache.simulator.${main}`, ...args],
    { encoding: 'utf8', maxBuffer: 2 ** 24 },
  );
  if (status !== 0) throw new Error(`Caffeine's ${main} ended with ${status}: ${stderr}`);
  return stdout;
}
