// Configuration documents as people write them.

export const rule = { table: 'public.users', keys: ['{id}'] };
export const minimal = { sources: { main: { topic: 'tidemark.main' } } };
export const withNamespace = (namespace: object, name = 'users'): object => ({
  ...minimal,
  namespaces: { [name]: namespace },
});
export const withRule = (one: object): object => withNamespace({ source: 'main', invalidate: [one] });
export const coherent = (more: object): object => withNamespace({ source: 'main', invalidate: [rule], ...more });
export const full = {
  sources: { main: { topic: 'tidemark.main', l2: { buckets: 4, maxFences: 1000 } } },
  namespaces: {
    'user-profile': {
      source: 'main',
      invalidation: 'rules',
      ttl: { hard: '1h', negative: '10s', jitter: '0%' },
      l1: { maxBytes: '128MiB' },
      l2: { enabled: false, compress: { over: '64KiB' }, chunk: '64KiB' },
      maxItemBytes: '64KiB',
      invalidate: [
        { table: 'public.users', keys: ['{id}', 'by-email:{email}'] },
        { table: 'public.orders', tags: ['user:{user_id}', '{{literal}}'] },
      ],
    },
    exchange: { source: 'main', invalidation: 'ttl_only' },
  },
};

export const examples: [string, unknown][] = [
  ['the smallest document', minimal],
  ['a namespace that only names its rules', coherent({})],
  ['a namespace that opted out', withNamespace({ source: 'main', invalidation: 'ttl_only' })],
  ['everything written out', full],
];
