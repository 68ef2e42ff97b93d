import { pbkdf2Sync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { KitError } from './error.ts';

// SCRAM users of a broker (KIP-554). kafkajs has no such call, and Kafka's own tool takes a second of Java.

/** AlterUserScramCredentials, https://kafka.apache.org/protocol.html#The_Messages_AlterUserScramCredentials */
const API_KEY = 51;
/** Fewest that Kafka takes. */
const ITERATIONS = 4096;
const mechanisms = [
  { code: 1, hash: 'sha256', bytes: 32 },
  { code: 2, hash: 'sha512', bytes: 64 },
] as const;

/** Makes users that may log in with SCRAM-SHA-256 and SCRAM-SHA-512, by a listener that asks for no login itself. */
export async function addScramUsers(port: number, users: Readonly<Record<string, string>>): Promise<void> {
  // One after the other: Kafka refuses a request that names a user twice.
  for (const mechanism of mechanisms) await upsert(port, users, mechanism);
}

async function upsert(
  port: number,
  users: Readonly<Record<string, string>>,
  { code, hash, bytes }: (typeof mechanisms)[number],
): Promise<void> {
  const entries = Object.entries(users).map(([name, password]) => {
    const salt = randomBytes(16);
    const salted = pbkdf2Sync(password, salt, ITERATIONS, bytes, hash);
    return [compact(Buffer.from(name)), Buffer.of(code), int32(ITERATIONS), compact(salt), compact(salted), NO_TAGS];
  });
  const header = [int16(API_KEY), int16(0), int32(1), int16(-1), NO_TAGS];
  const body = [uvarint(1), uvarint(entries.length + 1), ...entries.flat(), NO_TAGS];
  const request = Buffer.concat([...header, ...body]);
  const answer = await ask(port, Buffer.concat([int32(request.length), request]));
  // Correlation, tags, throttle time, then a result for each user: its name, error, message and tags.
  let at = 4 + 1 + 4 + 1;
  for (const name of Object.keys(users)) {
    at += 1 + Buffer.byteLength(name);
    const error = answer.readInt16BE(at);
    if (error !== 0) throw new KitError(`Kafka does not take the user ${name} (error ${error}).`);
    at += 2 + 1 + 1;
  }
}

/** One request; answers the response without its length. */
async function ask(port: number, request: Buffer): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1');
  let answer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    answer = Buffer.concat([answer, chunk]);
    if (answer.length >= 4 && answer.length >= 4 + answer.readInt32BE(0)) socket.end();
  });
  socket.write(request);
  await once(socket, 'close');
  if (answer.length < 4) throw new KitError('Kafka does not answer the request for users.');
  return answer.subarray(4);
}

const NO_TAGS = Buffer.of(0);

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

/** Lengths here stay below 128, one byte each. */
function uvarint(value: number): Buffer {
  return Buffer.of(value);
}

function compact(bytes: Buffer): Buffer {
  return Buffer.concat([uvarint(bytes.length + 1), bytes]);
}
