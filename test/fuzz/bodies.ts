import fc from 'fast-check';
import { GOOD_KEYS } from './vocabulary.ts';
import type { Stores } from './requests.ts';

// Bodies: values of their own, documents that are nearly right, and what is no document.

interface Put {
  readonly namespace: string;
  readonly key: string;
  /** Members beside the value, as JSON. */
  readonly more: string;
}

/** What a body shall be; its values are filled in when it is built. */
export type BodyPlan =
  | { readonly kind: 'value'; readonly size: number }
  | { readonly kind: 'batch'; readonly puts: readonly Put[]; readonly get: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array };

const decodedKeys = [...GOOD_KEYS.map((key) => decodeURIComponent(key)), '', 'k'.repeat(513)];
const MORE = [
  ...[
    '',
    '',
    '',
    '"maxAge":5',
    '"maxAge":0',
    '"maxAge":1e400',
    '"maxAge":"5"',
    '"lease":"x"',
    '"lease":5',
    '"tags":["t"]',
  ],
  ...['"tags":{}', '"tags":["\\ud800"]', '"contentType":"a\\r\\nb"', '"contentType":"text/plain"', '"sourceLsn":"0/1"'],
  ...[
    '"absent":true',
    '"absent":"?1"',
    '"base64":"eA=="',
    '"base64":"x"',
    '"__proto__":{"absent":true}',
    '"loadedAt":"x"',
  ],
];
const GETS = [
  ...[
    '{"plain":["a"]}',
    '{"user":["a","b"]}',
    '{"nobody":["a"]}',
    '{"varied":["a"],"loaded":["a","b","c"]}',
    '{"written":["a"]}',
    '{"__proto__":["a"]}',
    '{"plain":"a"}',
    '[]',
    '{}',
    'null',
  ],
  ...[
    '{"plain":[""]}',
    '{"plain":[1]}',
    '{"plain":["\\ud800"]}',
    '{"plain":{"length":1}}',
    `{"plain":[${'"a",'.repeat(1_001)}"a"]}`,
  ],
];

const deep = (open: string, close: string, depth: number): string => open.repeat(depth) + close.repeat(depth);

const review = (request: string): string =>
  `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":${request}}`;
const ofPod = (pod: string): string =>
  review(
    `{"uid":"u","operation":"CREATE","namespace":"shop","resource":{"group":"","resource":"pods"},"object":${pod}}`,
  );
const annotated = (annotations: string, spec: string): string =>
  ofPod(`{"metadata":{"annotations":${annotations}},"spec":${spec}}`);
const ENABLED = '{"tidemark.dev/inject":"enabled"}';

const DOCUMENTS = [
  ...[
    '',
    '{',
    '[]',
    '{}',
    'null',
    '5',
    '"x"',
    '\ufeff{}',
    '{"a":1}}',
    '{"__proto__":{"purge":[]}}',
    '{"constructor":{}}',
  ],
  ...[
    deep('[', ']', 20_000),
    deep('{"a":', '}', 10_000),
    '['.repeat(50_000),
    `{"n":${'9'.repeat(5_000)}}`,
    '{"n":1e999999}',
  ],
  // A purge.
  ...[
    '{"purge":[{"namespace":"plain","keys":["a"]}]}',
    '{"purge":[{"namespace":"nobody","all":true}]}',
    '{"purge":{}}',
  ],
  ...['{"purge":[{"namespace":"user","keys":["never-stored"]}]}', '{"purge":[{"namespace":"user","keys":[""]}]}'],
  ...['{"purge":[{"namespace":"user","keys":["\\u0000"]}]}', '{"purge":[{"namespace":"user","keys":["\\ud800"]}]}'],
  ...['{"purge":[{"namespace":"user","all":"yes"}]}', '{"purge":[{"namespace":"user","__proto__":{"all":true}}]}'],
  ...[`{"purge":[${'1,'.repeat(5_000)}1]}`, `{"purge":[{"namespace":"user","keys":[${'1,'.repeat(999)}1]}]}`],
  ...[
    `{"purge":[{"namespace":"${'n'.repeat(3_000)}","all":true}]}`,
    `{"purge":[{"namespace":"user","${'x'.repeat(9_000)}":1}]}`,
  ],
  // Prefixes, and what is to be warmed.
  ...[
    '{"purge":[{"namespace":"user","prefixes":["never-"]}]}',
    '{"purge":[{"namespace":"user","prefixes":[""]}]}',
    '{"purge":[{"namespace":"user","prefixes":{}}]}',
    '{"namespace":"loaded","keys":["a","b","\\u0000",""]}',
    '{"namespace":"loaded","hot":5}',
    '{"namespace":"loaded","hot":-1}',
    '{"namespace":"loaded","sql":true}',
    '{"namespace":"nobody","hot":1}',
    '{"namespace":"loaded","keys":[],"hot":1}',
    '{"namespace":"__proto__","keys":["a"]}',
    '{"namespace":"varied","keys":["a"]}',
  ],
  // A batch that is none.
  ...[
    '{"get":5}',
    '{"put":5}',
    '{"put":[5]}',
    '{"put":[{}]}',
    '{"consistency":"x"}',
    '{"consistency":"snapshot","get":{"user":["a"]}}',
  ],
  ...[
    '{"consistency":"snapshot","get":{"plain":["a"]}}',
    `{"${'x'.repeat(9_000)}":1}`,
    `{"get":{"${'n'.repeat(9_000)}":["a"]}}`,
  ],
  // A review.
  ...[
    review('{}'),
    review('null'),
    review('{"uid":5}'),
    ofPod('null'),
    ofPod('{}'),
    ofPod('{"metadata":{},"spec":{}}'),
  ],
  ...[annotated(ENABLED, '{"containers":[]}'), annotated(ENABLED, '{"containers":[{"name":"a"}],"hostNetwork":true}')],
  ...[
    annotated(ENABLED, '{"containers":[{"name":"a"}]}'),
    annotated(ENABLED, '{"containers":[1,2]}'),
    annotated('[]', '{}'),
  ],
  ...[
    annotated('{"tidemark.dev/inject":"maybe"}', '{"containers":[{"name":"a"}]}'),
    annotated('{"a":5}', '{"containers":[]}'),
  ],
  ...[annotated('{"tidemark.dev/inject":"enabled","config.tidemark.dev/x":"y"}', '{"containers":[{"name":"a"}]}')],
  ...[
    annotated(ENABLED, '{"containers":[{"name":"a","env":[{"name":"__proto__"}]}],"__proto__":{"hostNetwork":true}}'),
  ],
  ...[annotated(ENABLED, `{"containers":[{"name":"a","x":${deep('[', ']', 5_000)}}]}`)],
  ...[annotated(ENABLED, '{"containers":[{"name":"tidemark"}],"initContainers":[{"name":"tidemark"}]}')],
];

/** Larger than some surface takes; seldom, since they cost the test more than the server. */
const LARGE = [
  `{"get":{"plain":["${'a'.repeat(4 * 1024 * 1024)}"]}}`,
  ' '.repeat(1024 * 1024 + 1),
  `"${'x'.repeat(3 * 1024 * 1024)}"`,
];

export const bodies: fc.Arbitrary<BodyPlan> = fc.oneof(
  {
    weight: 400,
    arbitrary: fc.record({ kind: fc.constant('value'), size: fc.constantFrom(0, 0, 1, 10, 5_000, 16_300, 17_000) }),
  },
  {
    weight: 200,
    arbitrary: fc.record({
      kind: fc.constant('batch'),
      puts: fc.array(
        fc.record({
          namespace: fc.constantFrom('plain', 'plain', 'plain', 'user', 'varied', 'loaded', 'nobody', '__proto__'),
          key: fc.constantFrom(...decodedKeys),
          more: fc.constantFrom(...MORE),
        }),
        { maxLength: 3 },
      ),
      get: fc.constantFrom(...GETS),
    }),
  },
  { weight: 200, arbitrary: fc.record({ kind: fc.constant('text'), text: fc.constantFrom(...DOCUMENTS) }) },
  { weight: 60, arbitrary: fc.record({ kind: fc.constant('text'), text: mutated(DOCUMENTS) }) },
  { weight: 30, arbitrary: fc.record({ kind: fc.constant('text'), text: fc.json() }) },
  { weight: 60, arbitrary: fc.record({ kind: fc.constant('bytes'), bytes: fc.uint8Array({ maxLength: 200 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('text'), text: fc.constantFrom(...LARGE) }) },
) as fc.Arbitrary<BodyPlan>;

/** A document with some characters replaced. */
function mutated(documents: readonly string[]): fc.Arbitrary<string> {
  const small = documents.filter((text) => text.length > 0 && text.length < 2_000);
  return fc
    .tuple(
      fc.constantFrom(...small),
      fc.nat(),
      fc.constantFrom(...'{}[],:"\\0-e\0\xff'.split(''), '', '"a":1,', '\\ud800', '1e999'),
    )
    .map(([text, at, by]) => text.slice(0, at % text.length) + by + text.slice((at % text.length) + 1));
}

/** @param options.place of what the request stores, where its path says so */
export function bodyOf(
  plan: BodyPlan,
  options: {
    readonly id: string;
    readonly place: string | undefined;
    readonly placeOf: (namespace: string, key: string) => string;
  },
): { readonly bytes: Buffer; readonly stores: readonly Stores[] } {
  const { id, place, placeOf } = options;
  if (place !== undefined) {
    // Whatever it is: where the path says so, it is a value, and unlike any other.
    const bytes = Buffer.concat([Buffer.from(`${id} `), rawBytes(plan)]);
    return { bytes, stores: [{ place, value: bytes.toString('latin1') }] };
  }
  if (plan.kind !== 'batch') return { bytes: rawBytes(plan), stores: [] };
  const stores = plan.puts.map(({ namespace, key }, i) => ({ place: placeOf(namespace, key), value: `${id}#${i}` }));
  const put = plan.puts.map(({ namespace, key, more }, i) => {
    const members = JSON.stringify({ namespace, key, text: `${id}#${i}` }).slice(0, -1);
    return `${members}${more === '' ? '' : `,${more}`}}`;
  });
  return { bytes: Buffer.from(`{"put":[${put.join(',')}],"get":${plan.get}}`), stores };
}

function rawBytes(plan: BodyPlan): Buffer {
  switch (plan.kind) {
    case 'value':
      return Buffer.alloc(plan.size, 'v');
    case 'text':
      return Buffer.from(plan.text);
    case 'bytes':
      return Buffer.from(plan.bytes);
    case 'batch':
      return Buffer.from(JSON.stringify(plan.puts));
  }
}
