import type { ProblemCode } from '@tidemark/runtime';
import { MAX_KEY_BYTES } from './address.ts';

const text = { type: 'string' } as const;
const header = (description: string, example: string) => ({ description, schema: text, example });
const field = (name: string, description: string) => ({ name, in: 'header', description, schema: text });

const session = header('To requests with Tidemark-Session: it has seen the write.', '1~main~1763700000000~16B374D848');
const written = {
  'Tidemark-Lsn': header(
    'At or after the commit. As Tidemark-Min-Lsn it lets any sidecar answer nothing older. Absent where nobody could say.',
    '16/B374D848',
  ),
  'Tidemark-Session': session,
};
const accepted = {
  202: {
    description: 'Kafka has it (`writeBehind`): it is in the database soon, and reads here see it already.',
    headers: { 'Tidemark-Session': session },
  },
};
const sessionField = field('Tidemark-Session', 'What the last answer of this session gave, or `new`.');

const common = [
  ...([
    'bad-key',
    'bad-request',
    'unknown-namespace',
    'not-writable',
    'nothing-written',
    'method-not-allowed',
  ] as const),
  ...(['write-conflict', 'write-invalid', 'upstream-failed', 'unavailable', 'write-unknown', 'timeout'] as const),
];

/** The path of write-route.ts. `problems` makes the answers that problems give. */
export function writePaths(problems: (...codes: readonly ProblemCode[]) => object): Record<string, object> {
  return {
    '/v1/write/{namespace}/{key}': {
      parameters: [
        { name: 'namespace', in: 'path', required: true, schema: text },
        {
          name: 'key',
          in: 'path',
          required: true,
          description: `Percent-encoded UTF-8, at most ${MAX_KEY_BYTES} bytes when decoded; "/" is written %2F.`,
          schema: text,
        },
      ],
      put: {
        summary: 'Write a value to the database',
        description:
          'By what the namespace has as writeThrough or writeBehind. What failed with `write-unknown` may have been written, and is never repeated by the sidecar; `isOver: true` says that it will not be from now on if it was not.',
        parameters: [
          field('Content-Type', 'Given back with the value. Default: application/octet-stream.'),
          field('Surrogate-Key', 'Tags of what is cached of it, divided by spaces, each percent-encoded.'),
          field('Cache-Control', '`max-age` shortens the life of what is cached of it; `no-store`: nothing is.'),
          sessionField,
        ],
        requestBody: { content: { '*/*': { schema: { type: 'string', format: 'binary' } } } },
        responses: {
          201: { description: 'It is in the database, and is new.', headers: written },
          ...accepted,
          204: { description: 'It is in the database.', headers: written },
          ...problems(...common, 'length-required', 'too-large'),
        },
      },
      delete: {
        summary: 'Remove a key from the database',
        parameters: [sessionField],
        responses: {
          ...accepted,
          204: { description: 'It is gone from the database.', headers: written },
          ...problems(...common),
        },
      },
    },
  };
}
