import type { V1Container, V1Pod } from '@kubernetes/client-node';
import { describe, expect, it } from 'vitest';
import { environmentOf, expand, type References } from './environment.ts';
import { quantity } from './quantity.ts';

const pod: V1Pod = {
  metadata: { name: 'shop-1', namespace: 'shop', annotations: { 'config.tidemark.dev/x': 'y' } },
  spec: { nodeName: 'node-a', containers: [] },
};
const known: Record<string, Record<string, string>> = { login: { user: 'u', TIDEMARK_REDIS_URL: 'redis://r' } };
const references: References = {
  configMap: async () => ({ A: '1' }),
  secret: async (name, optional) => {
    const found = known[name];
    if (found === undefined && !optional) throw new Error(`no Secret ${name}`);
    return found ?? {};
  },
};

function read(container: Omit<V1Container, 'name'>): Promise<Record<string, string>> {
  return environmentOf({ name: 'tidemark', ...container }, { pod, podIp: '10.200.1.2' }, references);
}

describe('environmentOf', () => {
  it('takes Secrets and ConfigMaps as a whole, and then what is named singly', async () => {
    const envFrom = [{ prefix: 'P_', configMapRef: { name: 'c' } }, { secretRef: { name: 'login' } }];
    expect(await read({ envFrom, env: [{ name: 'user', value: 'other' }] })).toEqual({
      P_A: '1',
      user: 'other',
      TIDEMARK_REDIS_URL: 'redis://r',
    });
  });

  it('leaves out what is optional and not there, and refuses what is not', async () => {
    const secretKeyRef = { name: 'nobody', key: 'x' };
    expect(
      await read({ env: [{ name: 'A', valueFrom: { secretKeyRef: { ...secretKeyRef, optional: true } } }] }),
    ).toEqual({});
    await expect(read({ env: [{ name: 'A', valueFrom: { secretKeyRef } }] })).rejects.toThrow('no Secret nobody');
    const missing = { secretKeyRef: { name: 'login', key: 'x' } };
    await expect(read({ env: [{ name: 'A', valueFrom: missing }] })).rejects.toThrow('A: login has no key x.');
  });

  it.each([
    ['metadata.name', 'shop-1'],
    ['spec.nodeName', 'node-a'],
    ['status.podIP', '10.200.1.2'],
    ["metadata.annotations['config.tidemark.dev/x']", 'y'],
    ["metadata.labels['none']", ''],
  ])('reads %s from the pod', async (fieldPath, expected) => {
    expect(await read({ env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath } } }] })).toEqual({ A: expected });
  });

  it('reads resources in the unit that is asked for, rounded up', async () => {
    const valueFrom = { resourceFieldRef: { resource: 'limits.memory', divisor: '1Mi' } };
    const resources = { limits: { memory: '1536Ki' } };
    expect(await read({ resources, env: [{ name: 'A', valueFrom }] })).toEqual({ A: '2' });
  });

  it('replaces names of earlier ones', async () => {
    const env = ['x', '$(A)-$(B)-$$(A)', 'late'].map((value, index) => ({ name: 'ABC'[index] ?? '', value }));
    expect(await read({ env })).toEqual({ A: 'x', B: 'x-$(B)-$(A)', C: 'late' });
  });
});

describe('expand', () => {
  it('leaves names that nobody has as they are', () => {
    expect(expand('$(A) $(B) $', { A: '1' })).toBe('1 $(B) $');
  });
});

describe('quantity', () => {
  it.each([
    ['100m', 0.1],
    ['2', 2],
    ['1.5Gi', 1.5 * 2 ** 30],
    ['1k', 1000],
  ])('%s', (text, expected) => {
    expect(quantity(text)).toBe(expected);
  });

  it('refuses what it does not know', () => {
    expect(() => quantity('much')).toThrow('"much" is no quantity');
  });
});
