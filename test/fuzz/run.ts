import { setTimeout as pause } from 'node:timers/promises';
import { Malformed, readAnswers, type Answer } from './answers.ts';
import { generateGarbage, type Garbage } from './garbage.ts';
import { generate, SMUGGLED, type Request } from './requests.ts';
import { heldBy, type Held, type Surfaces } from './surfaces.ts';
import { statusesOf, Values } from './values.ts';
import { complaint } from './verdict.ts';
import { GOOD_KEYS } from './vocabulary.ts';
import { exchange, type Target } from './wire.ts';

/** What a run has seen. */
export interface Report {
  requests: number;
  garbage: number;
  answers: number;
  /** How often each status was answered. */
  readonly statuses: Record<string, number>;
  /** Values that were served and checked, and values that were stored. */
  served: number;
  stored: number;
  /** What does not hold, each with what reproduces it. */
  readonly violations: string[];
  /** Of each process, before and after. */
  readonly held: Record<string, readonly [before: Held | undefined, after: Held | undefined]>;
}

const IN_FLIGHT = 200;
const PER_ROUND = 1_500;
const GARBAGE_PER_ROUND = 150;
const MOST_VIOLATIONS = 20;

/** Sends what a seed generates, round after round; each round has a seed of its own, that of the run plus its number. */
export async function run(
  surfaces: Surfaces,
  options: {
    readonly seed: number;
    readonly isOver: (requests: number) => boolean;
    readonly onRound?: (report: Report) => void;
  },
): Promise<Report> {
  const report: Report = {
    ...{ requests: 0, garbage: 0, answers: 0, statuses: {}, served: 0, stored: 0, violations: [], held: {} },
  };
  const values = new Values();
  const pids = surfaces.processes.map(({ pid }) => pid);
  let before: readonly (Held | undefined)[] | undefined;
  for (let round = 0; !options.isOver(report.requests) && report.violations.length < MOST_VIOLATIONS; round += 1) {
    const seed = options.seed + round;
    const violated = (what: string): void => void report.violations.push(`seed ${seed}: ${what}`);
    const requests = generate({ seed, count: PER_ROUND, id: `s${seed}` });
    const garbage = generateGarbage({ seed, count: GARBAGE_PER_ROUND });
    await inFlight([
      ...requests.map((request) => () => tryRequest(surfaces, request, { report, values, violated })),
      ...garbage.map((each) => () => tryGarbage(surfaces, each, { report, values, violated })),
    ]);
    await lookAt(surfaces, { values, violated });
    surfaces.processes.forEach(({ pid, name }, i) => {
      if (pid !== pids[i]) violated(`${name} is another process: ${pids[i]} before, ${pid} after`);
    });
    report.served = values.served;
    report.stored = values.stored;
    // What a process takes at first it keeps: code, and its pools.
    before ??= surfaces.processes.map(heldBy);
    options.onRound?.(report);
  }
  // Connections that were left open are closed within the limits of the servers, and garbage is collected.
  await pause(2_000);
  surfaces.processes.forEach((each, i) => (report.held[each.name] = [before?.[i], heldBy(each)]));
  return report;
}

interface Trying {
  readonly report: Report;
  readonly values: Values;
  readonly violated: (what: string) => void;
}

async function inFlight(work: readonly (() => Promise<void>)[]): Promise<void> {
  const rest = work[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      for (const next of rest) await next();
    }),
  );
}

async function tryRequest(
  { targets }: Surfaces,
  request: Request,
  { report, values, violated }: Trying,
): Promise<void> {
  const blame = (what: string): void => violated(`${what}\n  ${request.surface} was sent ${shown(request.pieces)}`);
  report.requests += 1;
  values.sending(request);
  const { bytes, isClosed } = await exchange(targets[request.surface], request);
  if (!isClosed) blame('the connection is kept open');
  const answers = read(bytes, request, blame);
  report.answers += answers.length;
  for (const answer of answers) {
    report.statuses[answer.status] = (report.statuses[answer.status] ?? 0) + 1;
    const wrong = complaint(answer);
    if (wrong !== undefined) blame(wrong);
  }
  if (request.isAnswered && answers.length === 0) blame('there is no answer');
  const answer = answers[request.methods.length - 1];
  // A 400 in the place of the whole says that nothing of it was taken.
  values.answered(request, statusesOf(request, answer ?? (request.isAnswered ? answers.at(-1) : undefined)));
  const { reads } = request;
  if (reads === undefined || answer?.status !== 200) return;
  const wrong = values.complaint(reads, answer.body.toString('latin1'));
  if (wrong !== undefined) blame(wrong);
}

function read(
  bytes: Buffer,
  { methods, end }: Pick<Request, 'methods' | 'end'>,
  blame: (what: string) => void,
): readonly Answer[] {
  try {
    return readAnswers(bytes, methods, end !== 'wait');
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    blame(error.message);
    return [];
  }
}

async function tryGarbage({ targets }: Surfaces, garbage: Garbage, { report, violated }: Trying): Promise<void> {
  const blame = (what: string): void => violated(`${what}\n  ${garbage.surface} was sent ${shown(garbage.pieces)}`);
  report.garbage += 1;
  const { bytes, isClosed } = await exchange(targets[garbage.surface], garbage);
  if (!isClosed) blame('the connection is kept open');
  // Over TLS without TLS an alert comes back.
  if (garbage.surface === 'webhook-plain') return;
  for (const answer of read(bytes, { methods: [], end: garbage.end }, blame)) {
    const wrong = complaint(answer);
    if (wrong !== undefined) blame(wrong);
  }
}

/** The next good request is answered right everywhere, and of what may be read nothing is what nobody stored. */
async function lookAt({ targets }: Surfaces, { values, violated }: Omit<Trying, 'report'>): Promise<void> {
  const pages = {
    sidecar: '/livez',
    socket: '/livez',
    admin: '/livez',
    invalidator: '/livez',
    applier: '/livez',
  } as const;
  for (const [name, path] of [...Object.entries(pages), ['webhook-health', '/livez'] as const]) {
    const answer = await ask(targets[name as keyof typeof targets], path);
    if (answer?.status !== 200) violated(`${name} answers a good request with ${answer?.status}`);
  }
  const review = await ask(targets.webhook, '/inject', REVIEW);
  if (review?.status !== 200 || !review.body.includes('JSONPatch')) violated(`a good review: ${review?.status}`);
  const places = [
    'plain/smuggled',
    'plain/garbage',
    ...['plain', 'user'].flatMap((n) => GOOD_KEYS.map((key) => `${n}/${key}`)),
  ];
  for (const path of places) {
    const answer = await ask(targets.sidecar, `/v1/cache/${path}`);
    if (answer?.status !== 200 && answer?.status !== 404) violated(`a good read of ${path}: ${answer?.status}`);
    if (answer?.status !== 200) continue;
    const wrong = values.complaint(decodeURIComponent(path), answer.body.toString('latin1'));
    if (wrong !== undefined) violated(wrong === SMUGGLED.value ? `smuggled: ${wrong}` : wrong);
  }
}

const REVIEW = JSON.stringify({
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request: {
    uid: 'u',
    operation: 'CREATE',
    namespace: 'shop',
    resource: { group: '', resource: 'pods' },
    object: { metadata: { annotations: { 'tidemark.dev/inject': 'enabled' } }, spec: { containers: [{ name: 'a' }] } },
  },
});

async function ask(target: Target, path: string, body?: string): Promise<Answer | undefined> {
  const length =
    body === undefined ? '' : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`;
  const head = `${body === undefined ? 'GET' : 'POST'} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n`;
  const only = body === undefined && path.startsWith('/v1/cache') ? 'Cache-Control: only-if-cached\r\n' : '';
  const { bytes } = await exchange(target, {
    pieces: [Buffer.from(`${head}${only}${length}\r\n${body ?? ''}`)],
    end: 'wait',
  });
  return readAnswers(bytes, ['GET'], false)[0];
}

const MOST_SHOWN = 400;

function shown(pieces: readonly Uint8Array[]): string {
  const text = JSON.stringify(Buffer.concat(pieces).toString('latin1'));
  return text.length <= MOST_SHOWN ? text : `${text.slice(0, MOST_SHOWN)}... (${text.length} characters)`;
}
