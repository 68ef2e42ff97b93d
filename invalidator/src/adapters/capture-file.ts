import { createReadStream } from 'node:fs';
import { open, rename, stat, truncate, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import {
  CAPTURE_MAGIC,
  CaptureError,
  CaptureParser,
  encodeFrame,
  type CaptureFrame,
  type CaptureHeader,
} from '../core/replay/capture-format.ts';
import { OperatorError } from '../core/errors.ts';
import type { ReplayRecord } from '../core/replay/engine.ts';
import type { RecordStream } from '../core/replay/ports.ts';

const PIECE_BYTES = 1024 * 1024;
/** Standard input or output. */
const STANDARD = '-';

/** A capture to be read. */
export interface CaptureReader {
  readonly header: CaptureHeader;
  readonly stream: RecordStream;
}

/** Opens a capture, `-` for standard input. Throws {@link OperatorError} when it is none. */
export async function openCapture(path: string): Promise<CaptureReader> {
  const total = path === STANDARD ? undefined : await sizeOf(path);
  const pieces = (path === STANDARD ? process.stdin : createReadStream(path, { highWaterMark: PIECE_BYTES }))[
    Symbol.asyncIterator
  ]() as AsyncIterator<Buffer, undefined>;
  const parser = new CaptureParser(crc32);
  const told = (error: unknown): unknown =>
    error instanceof CaptureError ? new OperatorError(`${path}: ${error.message}`) : error;
  const unfinished = (): OperatorError =>
    new OperatorError(
      `${path}: found no end mark behind byte ${parser.soundBytes}, expected one: it was not finished (run the same tidemark capture again)`,
    );
  let header: CaptureHeader | undefined;
  let early: ReplayRecord[] = [];
  try {
    while (header === undefined) {
      const piece = await pieces.next();
      if (piece.done === true) throw unfinished();
      for (const frame of parser.push(piece.value)) {
        if (frame.kind === 'header') header = frame.header;
        else if (frame.kind === 'record') early.push(frame.record);
      }
    }
  } catch (error) {
    await pieces.return?.();
    throw told(error);
  }
  return {
    header,
    stream: {
      progress: () => ({ done: parser.soundBytes, total }),
      async read(take, signal) {
        try {
          let goesOn = await take(early);
          early = [];
          while (goesOn && !signal.aborted) {
            const piece = await pieces.next();
            if (piece.done === true) {
              if (!parser.hasEnd) throw unfinished();
              return;
            }
            goesOn = await take(recordsOf(parser.push(piece.value)));
          }
        } catch (error) {
          throw told(error);
        } finally {
          await pieces.return?.();
        }
      },
    },
  };
}

function recordsOf(frames: Iterable<CaptureFrame>): ReplayRecord[] {
  const records: ReplayRecord[] = [];
  for (const frame of frames) if (frame.kind === 'record') records.push(frame.record);
  return records;
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    throw new OperatorError(`${path}: it cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`);
  }
}

/** A capture that is being written. */
export interface CaptureWriter {
  /** Resolves once the system has it. */
  write(records: readonly ReplayRecord[]): Promise<void>;
  /** Writes the end mark and gives the file its name; nothing can be written afterwards. */
  finish(): Promise<void>;
  /** Leaves what is there, for another run to go on with. */
  abandon(): Promise<void>;
  readonly records: number;
}

/** What an earlier run left. */
export interface PartialCapture {
  readonly header: CaptureHeader;
  readonly records: number;
  /** Behind the last record that is whole; undefined when there is none. */
  readonly nextOffset: number | undefined;
  readonly soundBytes: number;
}

/** Name of a capture until it is finished. */
export function partialName(path: string): string {
  return `${path}.partial`;
}

/** What is left of an unfinished capture; undefined when nothing useful is. Throws {@link OperatorError} when it is no capture. */
export async function readPartial(path: string): Promise<PartialCapture | undefined> {
  const name = partialName(path);
  if ((await stat(name).catch(() => undefined)) === undefined) return undefined;
  const parser = new CaptureParser(crc32);
  let header: CaptureHeader | undefined;
  let records = 0;
  let nextOffset: number | undefined;
  let soundBytes = 0;
  try {
    for await (const piece of createReadStream(name, { highWaterMark: PIECE_BYTES })) {
      for (const frame of parser.push(piece as Buffer)) {
        // It was cut off between its end mark and its name: the mark is written again.
        if (frame.kind === 'end') break;
        ({ soundBytes } = parser);
        if (frame.kind === 'header') header = frame.header;
        if (frame.kind !== 'record') continue;
        records += 1;
        nextOffset = frame.record.offset + 1;
      }
    }
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    if (soundBytes === 0) throw new OperatorError(`${name}: ${error.message}: delete it`);
    // Its end was being written when it was cut off: what stands before is whole.
  }
  return header && { header, records, nextOffset, soundBytes };
}

async function openFile(path: string, flags: 'w' | 'a'): Promise<FileHandle> {
  try {
    return await open(path, flags);
  } catch (error) {
    throw new OperatorError(`--out: found ${(error as Error).message}, expected a file that can be written`);
  }
}

/** Begins a capture, or goes on with one. `-` is standard output: it cannot be gone on with. */
export async function openCaptureWriter(
  path: string,
  start: { readonly header: CaptureHeader } | PartialCapture,
): Promise<CaptureWriter> {
  const isStandard = path === STANDARD;
  // Told by the write that fails.
  if (isStandard) process.stdout.on('error', () => undefined);
  const name = partialName(path);
  const partial = 'soundBytes' in start ? start : undefined;
  if (partial !== undefined) await truncate(name, partial.soundBytes);
  const file = isStandard ? undefined : await openFile(name, partial === undefined ? 'w' : 'a');
  let records = partial?.records ?? 0;
  const put = async (bytes: Uint8Array): Promise<void> => {
    if (file === undefined) await putStandard(bytes);
    else await file.writeFile(bytes);
  };
  const frames = (list: readonly CaptureFrame[]): Uint8Array =>
    Buffer.concat(list.map((frame) => encodeFrame(frame, crc32)));
  if (partial === undefined)
    await put(Buffer.concat([CAPTURE_MAGIC, frames([{ kind: 'header', header: start.header }])]));
  return {
    get records() {
      return records;
    },
    async write(list) {
      if (list.length === 0) return;
      await put(frames(list.map((record) => ({ kind: 'record', record }))));
      records += list.length;
    },
    async finish() {
      await put(frames([{ kind: 'end', end: { records } }]));
      if (file === undefined) return;
      await file.sync();
      await file.close();
      await rename(name, path);
      await syncFolder(dirname(path));
    },
    async abandon() {
      await file?.sync();
      await file?.close();
    },
  };
}

/** A name is only durable once its folder is. */
async function syncFolder(path: string): Promise<void> {
  let folder: FileHandle | undefined;
  try {
    folder = await open(path, 'r');
    await folder.sync();
  } finally {
    await folder?.close();
  }
}

function putStandard(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(new OperatorError(`standard output cannot be written (${error.message})`));
    });
  });
}
