import { hitRatio, type Layer, layers, type Quantiles, sumOf, type Totals } from './stats.ts';

/** `up`: does its job. `waiting`: says that it cannot do its job now. `silent`: does not answer. */
export type PartState = 'up' | 'waiting' | 'silent' | 'starting' | 'paused' | 'down';

export interface Part {
  readonly name: string;
  readonly state: PartState;
  /** What there is to say beside it. */
  readonly note: string;
}

/** Everything that is on the screen at one time. */
export interface Picture {
  readonly elapsedMs: number;
  readonly perSecond: Totals;
  /** Commit to eviction; undefined where nothing was measured lately. */
  readonly evicted: Quantiles | undefined;
  /** Watermark lag by sidecar; undefined where it does not say. */
  readonly lags: readonly { readonly name: string; readonly lagMs: number | undefined }[];
  readonly checked: number;
  readonly stale: number;
  readonly parts: readonly Part[];
  /** Oldest first. */
  readonly events: readonly { readonly clock: string; readonly text: string }[];
}

export type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red' | 'blue' | 'cyan';
/** Gives text a colour; the text itself stays as it is. */
export type Paint = (style: Style, text: string) => string;

export interface Screen {
  readonly columns: number;
  readonly rows: number;
}

/** A piece of a line: lines are cut to the screen before they are coloured. */
type Piece = string | readonly [Style, string];

const labelWidth = 12;
const stateStyle: Readonly<Record<PartState, Style>> = {
  up: 'green',
  waiting: 'yellow',
  silent: 'yellow',
  starting: 'yellow',
  paused: 'yellow',
  down: 'red',
};
const layerStyle: Readonly<Record<Layer, Style>> = { l1: 'green', l2: 'cyan', postgres: 'yellow' };
const layerBar: Readonly<Record<Layer, string>> = { l1: '█', l2: '▓', postgres: '░' };
export const layerName: Readonly<Record<Layer, string>> = { l1: 'L1', l2: 'L2', postgres: 'miss' };

/** Lines for a screen of this size, at most 80 columns wide; where there are too few rows the oldest events go first. */
export function draw(picture: Picture, screen: Screen, paint: Paint): string[] {
  const columns = Math.min(screen.columns, 80);
  const head = headLines(picture, columns);
  const keys: Piece[][] = [
    [],
    [['dim', 'kill: '], 'r Redis  k Kafka  i invalidator   p pause a sidecar   f FLUSHALL   q quit'],
  ];
  const room = Math.max(0, screen.rows - head.length - keys.length);
  const events = picture.events
    .slice(-Math.min(room, 8))
    .map(({ clock, text }): Piece[] => [['dim', clock], `  ${text}`]);
  const lines = [...head, ...events, ...keys].slice(0, screen.rows);
  return lines.map((line) => finish(line, columns, paint));
}

function headLines(picture: Picture, columns: number): Piece[][] {
  const { perSecond, evicted, checked, stale } = picture;
  const title = 'Tidemark demo: a shop behind two sidecars';
  const time = duration(picture.elapsedMs);
  return [
    [['bold', title], ' '.repeat(Math.max(1, columns - title.length - time.length)), ['dim', time]],
    [],
    labelled('reads', [column(perUnit(sumOf(perSecond.reads))), ['dim', 'writes  '], perUnit(perSecond.writes)]),
    labelled(
      'served by',
      layers.map((layer): Piece => column(`${layerName[layer]} ${percent(share(perSecond, layer))}`)),
    ),
    labelled('', bar(perSecond, Math.max(0, columns - labelWidth))),
    labelled('evicted', [
      column(`p50 ${milliseconds(evicted?.p50Ms)}`),
      column(`p99 ${milliseconds(evicted?.p99Ms)}`),
      ['dim', `after the commit (last 10 s, ${evicted?.count ?? 0} seen)`],
    ]),
    labelled(
      'watermark',
      picture.lags
        .map(({ name, lagMs }): Piece => column(`${name} ${milliseconds(lagMs)}`, 22))
        .concat([['dim', 'behind']]),
    ),
    labelled('stale reads', [
      [stale === 0 ? 'green' : 'red', column(count(stale))],
      ['dim', `among ${count(checked)} values from the caches, all checked`],
    ]),
    [],
    ...partLines(picture.parts),
    [],
  ];
}

function labelled(label: string, pieces: readonly Piece[]): Piece[] {
  return [['dim', label.padEnd(labelWidth)], ...pieces];
}

/** The servers and services on one line, what has a note (the sidecars) on another. */
function partLines(parts: readonly Part[]): Piece[][] {
  const show = ({ name, state, note }: Part): Piece[] => [
    [stateStyle[state], state === 'up' ? '●' : '○'],
    ` ${name}${state === 'up' ? '' : ` ${state}`}${note === '' ? '' : ` (${note})`}   `,
  ];
  const withNote = (part: Part): boolean => part.name.startsWith('sidecar');
  return [parts.filter((part) => !withNote(part)).flatMap(show), parts.filter(withNote).flatMap(show)];
}

function bar(perSecond: Totals, width: number): Piece[] {
  const cells = layers.map((layer) => Math.round(share(perSecond, layer) * width));
  return layers.map((layer, at): Piece => [layerStyle[layer], layerBar[layer].repeat(cells[at] ?? 0)]);
}

function share(perSecond: Totals, layer: Layer): number {
  const sum = sumOf(perSecond.reads);
  return sum === 0 ? 0 : perSecond.reads[layer] / sum;
}

function finish(line: readonly Piece[], columns: number, paint: Paint): string {
  let room = columns;
  let text = '';
  for (const piece of line) {
    const [style, words] = typeof piece === 'string' ? [undefined, piece] : piece;
    const cut = words.slice(0, room);
    room -= cut.length;
    text += style === undefined || cut === '' ? cut : paint(style, cut);
  }
  return text.trimEnd();
}

/** One line of figures, for where there is no terminal. */
export function plainLine(picture: Picture): string {
  const { perSecond, evicted, lags, parts } = picture;
  const worstLagMs = Math.max(...lags.map(({ lagMs }) => lagMs ?? 0));
  const troubled = parts.filter(({ state }) => state !== 'up').map(({ name, state }) => `${name} ${state}`);
  return [
    duration(picture.elapsedMs).padStart(6),
    `reads ${perUnit(sumOf(perSecond.reads))}`,
    ...layers.map((layer) => `${layerName[layer]} ${percent(share(perSecond, layer))}`),
    `writes ${perUnit(perSecond.writes)}`,
    `evicted p50 ${milliseconds(evicted?.p50Ms)} p99 ${milliseconds(evicted?.p99Ms)}`,
    `lag ${milliseconds(worstLagMs)}`,
    `stale reads: ${count(picture.stale)}`,
    ...troubled,
  ].join('  ');
}

export interface Summary {
  readonly elapsedMs: number;
  readonly totals: Totals;
  /** While nothing was broken on purpose. */
  readonly evicted: Quantiles | undefined;
  /** While something was. */
  readonly evictedInTrouble: Quantiles | undefined;
  readonly checked: number;
  readonly stale: number;
  readonly staleReads: readonly string[];
}

export function summaryLines(summary: Summary): string[] {
  const { reads, writes } = summary.totals;
  const sum = sumOf(reads);
  const ratio = hitRatio(reads);
  const byLayer = layers.map((layer) => `${layerName[layer]} ${count(reads[layer])}`).join(', ');
  return [
    `ran for      ${duration(summary.elapsedMs)}`,
    `reads        ${count(sum)} (${byLayer}; hit ratio ${ratio === undefined ? '-' : percent(ratio)})`,
    `writes       ${count(writes)}`,
    `evicted      ${quantileText(summary.evicted)} after the commit`,
    ...(summary.evictedInTrouble === undefined
      ? []
      : [`  in trouble ${quantileText(summary.evictedInTrouble)} after the commit`]),
    `checked      ${count(summary.checked)} values that the caches served`,
    `stale reads: ${count(summary.stale)}`,
    ...summary.staleReads.map((text) => `  ${text}`),
  ];
}

function quantileText(quantiles: Quantiles | undefined): string {
  if (quantiles === undefined) return 'not measured,';
  const { p50Ms, p99Ms, maxMs } = quantiles;
  return `p50 ${milliseconds(p50Ms)}, p99 ${milliseconds(p99Ms)}, max ${milliseconds(maxMs)} (${count(quantiles.count)} seen)`;
}

function column(text: string, width = 15): string {
  return text.padEnd(width);
}

export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function perUnit(value: number): string {
  return `${count(value)}/s`;
}

export function percent(value: number): string {
  return `${(value * 100).toFixed(1)}%`;
}

export function milliseconds(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '-';
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ms`;
}

function duration(elapsedMs: number): string {
  const seconds = Math.floor(elapsedMs / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
