import { describe, expect, it } from 'vitest';
import { parseConfig, type WriteThroughConfig } from '../config.ts';

const PUT = { sql: 'insert into users values ($1, $2) on conflict (id) do update set doc = excluded.doc;' };

function parse(writeThrough: unknown, more: object = {}) {
  const users = { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }], writeThrough, ...more };
  return parseConfig({ sources: { main: { topic: 't' } }, namespaces: { users } });
}

function taken(writeThrough: unknown, more: object = {}): WriteThroughConfig {
  const parsed = parse(writeThrough, more);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.config.namespaces['users']?.writeThrough as WriteThroughConfig;
}

describe('writeThrough', () => {
  it('fills in what is usual', () => {
    expect(taken({ put: PUT, delete: { sql: 'delete from users where id = $1' } })).toEqual({
      key: '{key}',
      put: { kind: 'sql', sql: PUT.sql.slice(0, -1), params: ['{key}', '{body}'] },
      delete: { kind: 'sql', sql: 'delete from users where id = $1', params: ['{key}'] },
      cache: undefined,
      read: undefined,
      timeout: 2000,
    });
    expect(taken({ put: { http: { url: 'http://app:8080/users/{key}' } } }).put).toEqual({
      kind: 'http',
      url: 'http://app:8080/users/{key}',
      method: 'PUT',
      headers: {},
    });
  });

  it('knows parts of keys, header fields, and what to read afterwards', () => {
    const params = ['{id}', '{bytes}', '{header.x-user}', 'by {id}'];
    const config = taken({
      key: 'user:{id}',
      put: { sql: 'select put($1, $2, $3, $4) as created', params },
      read: { sql: 'select doc from users where id = $1', params: ['{id}'] },
    });
    expect([config.put, config.cache, config.read?.params]).toMatchObject([{ params }, 'loaded', ['{id}']]);
  });

  it.each<[string, unknown, string, string, object?]>([
    ['nothing to do', {}, '', 'found neither put nor delete'],
    ['no way', { put: {} }, '.put', 'found neither sql nor http'],
    ['two ways', { put: { ...PUT, http: { url: 'http://app/{key}' } } }, '.put', 'found both sql and http'],
    [
      'too few parameters',
      { put: { ...PUT, params: ['{key}'] } },
      '.put.params',
      'found 1, expected one for each of $1 to $2',
    ],
    [
      'a parameter that is not used',
      { put: { sql: 'select $2', params: ['{key}', '{body}'] } },
      '.put.params',
      'each used',
    ],
    ['an unknown parameter', { put: { ...PUT, params: ['{key}', '{boddy}'] } }, '.put.params.1', 'found {boddy}'],
    ['a body inside of more', { put: { ...PUT, params: ['{key}', 'x{body}'] } }, '.put.params.1', 'found {body}'],
    ['a body of a delete', { delete: { sql: 'select $1', params: ['{body}'] } }, '.delete.params.0', 'found {body}'],
    ['an unknown part', { key: 'a:{id}', put: { ...PUT, params: ['{i}', '{body}'] } }, '.put.params.0', 'found {i}'],
    ['a key that cannot be read', { key: '{a}{b}', put: PUT }, '.key', 'nothing stands between'],
    ['a host that callers choose', { put: { http: { url: 'http://{key}/' } } }, '.put.http.url', 'only in its path'],
    [
      'params with http',
      { put: { params: ['{key}'], http: { url: 'http://app/{key}' } } },
      '.put.params',
      'none with http',
    ],
    [
      'a field of ours',
      { put: { http: { url: 'http://app/{key}', headers: { 'Tidemark-Write': 'x' } } } },
      '.put.http.headers.Tidemark-Write',
      'sidecar sets',
    ],
    [
      'a transaction that cannot be read in',
      { put: { http: { url: 'http://app/{key}' } }, cache: 'loaded' },
      '.cache',
      'found loaded',
    ],
    ['an answer of a statement', { put: PUT, cache: 'answer' }, '.cache', 'put.http only'],
    ['a read that is not used', { put: PUT, cache: 'nothing', read: { sql: 'select 1' } }, '.read', 'cache: nothing'],
    ['nothing to read', { put: PUT, cache: 'loaded' }, '.cache', 'load.sql beside it'],
    [
      "a value that is somebody's",
      { put: PUT, cache: 'written' },
      '.cache',
      'beside vary',
      { vary: { headers: ['a'] } },
    ],
    [
      "a row to read that is somebody's",
      { put: PUT, read: { sql: 'select $1' } },
      '.read',
      'beside vary',
      { vary: { headers: ['a'] } },
    ],
    ['no rules', { put: PUT }, '', 'no other sidecar would hear', { invalidation: 'ttl_only', invalidate: [] }],
    [
      'two kinds of writes',
      { put: PUT },
      '',
      'a write goes one way',
      { writeBehind: { put: { ...PUT, params: ['{key}', '{body}'] } } },
    ],
  ])('refuses %s', (...[, writeThrough, place, message, more]) => {
    const parsed = parse(writeThrough, more);
    const path = `namespaces.users.writeThrough${place}`;
    expect(parsed.ok ? [] : parsed.issues).toContainEqual({ path, message: expect.stringContaining(message) });
  });
});
